"""Where a program spends its CPU time, line by line: told by its own process, so a claim like all that it says.

The zygote of a profiling jail makes this a module, from its text, as it makes a problem's libraries; a small program
in front of the candidate's then calls `traced`. A signal that samples would be cheaper, but the jail allows no timer;
`sys.settrace` needs no system call besides the clock's. What the tracer itself takes is left out, up to the
interpreter's way into it, so that short lines weigh a little too much.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any


class Enough(BaseException):
    """The program was watched for long enough."""


def traced(function: Callable[..., Any], files: Sequence[str], longest_s: float) -> Callable[..., Any]:
    """The function, watched while it works.

    Called without arguments, it tells what it has seen: a list of [index of the file, line, nanoseconds], most first.

    Args:
        files: whose lines count. What they call elsewhere counts for the line that calls it.
        longest_s: CPU seconds after which the function is broken off, and answers None from then on.
    """
    clock, own = time.process_time_ns, {name: index for index, name in enumerate(files)}
    spent: dict[tuple[str, int], int] = {}
    place: tuple[str, int] | None = None
    last = 0
    left = int(longest_s * 1e9)

    def step(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal place, last, left
        now = clock()
        if place is not None:
            spent[place] = spent.get(place, 0) + now - last
        left -= now - last
        back: FrameType | None = frame
        if event == "return":
            back = frame.f_back
            while back is not None and back.f_code.co_filename not in own:
                back = back.f_back
        # between a call and its first line there is next to nothing but the interpreter's way in here
        begins = event == "call" and frame.f_lineno == frame.f_code.co_firstlineno
        place = None if back is None or begins else (back.f_code.co_filename, back.f_lineno)
        last = clock()
        left -= last - now
        if left < 0:
            raise Enough
        return step

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        return step(frame, event, _) if frame.f_code.co_filename in own else None

    def watched(*arguments: Any) -> Any:
        nonlocal place, last
        if not arguments:
            rows = sorted(spent.items(), key=lambda row: -row[1])
            return [[own[name], line, nanoseconds] for (name, line), nanoseconds in rows]
        if left < 0:
            return None
        place, last = None, clock()
        sys.settrace(enter)
        try:
            return function(*arguments)
        except Enough:
            return None
        finally:
            sys.settrace(None)

    return watched
