"""The stand-in model server for a comparison: the k-th request about a program gets the same child, whoever asks.

Everything else that a prompt holds, other programs and scores included, changes nothing, so that what differs between
systems is which program they choose to vary. The reply has the form that the prompt asks for. It may answer one
request with a hostile program.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from bench.peers import hostile
from evolve import program as programs
from evolve.errors import ProgramError
from tests.model_server import Behaviour, Genetics, ModelServer, edit_blocks, programs_in

BEGIN, END = "# EVOLVE-BLOCK-START", "# EVOLVE-BLOCK-END"
"""Around what may change: some systems need these lines, evolve ignores them."""
ATTEMPTS = 20  # dice thrown for a child
_HEADING = re.compile(
    r"^#+ *(?:Current Program|Current program|Current Component|The program) *$", re.MULTILINE
)


def parent_of(prompt: str) -> str:
    """The program that a prompt asks to change: the one under its heading, else the first; "" if there is none."""
    headings = list(_HEADING.finditer(prompt))
    below = programs_in(prompt[headings[-1].end() :]) if headings else []
    return next(iter(below or programs_in(prompt)), "")


def framed(source: str) -> str:
    return f"{BEGIN}\n{source.strip()}\n{END}\n"


def normal(source: str) -> str:
    """A program as all systems get it: without comments and docstrings, so that a change is a change."""
    return programs.normalise(programs.parse(source)) + "\n"


def identity(source: str) -> str:
    """The program's id, whatever its layout; "" if it does not parse."""
    try:
        return programs.identity({"program.py": source})
    except ProgramError:
        return ""


class Kin:
    """Answers with the next child of the program asked about; notes each answer as a line of JSON.

    attack: name of the hostile program with which the request number `at` (from 1) is answered.
    """

    def __init__(self, entry: str, seed: int, log: Path, attack: hostile.Attack | None = None, at: int = 5):
        self._entry, self._seed, self._log = entry, seed, log
        self._attack, self._at = attack, at
        self._genetics = Genetics()
        self._asked: Counter[str] = Counter()
        self._count = 0
        self._lock = threading.Lock()

    def __call__(self, prompt: str, rng: random.Random) -> str:
        parent = parent_of(prompt)
        if not parent:
            self._note("", "", "none")
            return "Compare more than one job at a time, and keep the program short."
        known = identity(parent)
        with self._lock:
            self._asked[known] += 1
            time_asked = self._asked[known]
            self._count += 1
            hostile_turn = self._attack is not None and self._count == self._at
        child = self.child(parent, known, time_asked)
        if hostile_turn and self._attack is not None:
            child = self._attack.source(self._entry)
        form = "edits" if "<<<<<<< SEARCH" in prompt else "whole"
        self._note(known, identity(child), form)
        return _reply(parent, child, form, tagged="<NAME>" in prompt)

    def child(self, parent: str, known: str, time_asked: int) -> str:
        """The child that a program, `known` by its id, gets when it is asked about for the time_asked-th time."""
        source = normal(parent)
        for attempt in range(ATTEMPTS):
            rng = random.Random(f"{self._seed}/{known}/{time_asked}/{attempt}")
            found = self._genetics.child(self._entry, source, (), rng).candidate
            if found is not None:
                return normal(found.files["program.py"])
        return source

    def _note(self, parent: str, child: str, form: str) -> None:
        with self._lock, self._log.open("a") as file:
            line = {"at": time.time(), "parent": parent, "child": child, "form": form}
            file.write(json.dumps(line) + "\n")


def _reply(parent: str, child: str, form: str, tagged: bool) -> str:
    """The child in the form that was asked for. tagged: in the tags that one of the systems wants."""
    whole = framed(child) if BEGIN in parent else child
    body = _edits(parent, whole) if form == "edits" else f"```python\n{whole}```\n"
    if not tagged:
        return f"Idea: vary one thing\n\n{body}"
    tag = "DIFF" if form == "edits" else "CODE"
    about = "<NAME>\nvary_one_thing\n</NAME>\n\n<DESCRIPTION>\nVary one thing.\n</DESCRIPTION>\n\n"
    return f"{about}<{tag}>\n{body}\n</{tag}>\n"


def _edits(parent: str, whole: str) -> str:
    """Blocks that make the child of the parent; where none is unique, one that replaces all between the marks."""
    blocks = edit_blocks(parent, whole)
    if blocks and not any(f"\n{mark}\n" in blocks for mark in (BEGIN, END)):
        return blocks
    old, new = (text.replace(f"{BEGIN}\n", "").replace(f"{END}\n", "").strip() for text in (parent, whole))
    return f"<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("order", help="JSON: entry, seed, log, latency_s, attack (or null), place")
    order = json.loads(Path(parser.parse_args().order).read_text())
    attack = hostile.attack(order["attack"], order["place"]) if order["attack"] else None
    answer = Kin(order["entry"], order["seed"], Path(order["log"]), attack)
    with ModelServer(Behaviour(order["latency_s"]), answer) as server:
        server.keep_calls = False
        print(server.url, flush=True)
        sys.stdin.read()  # until whoever started it closes the pipe or dies


if __name__ == "__main__":
    main()
