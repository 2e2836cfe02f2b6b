"""The replies of an earlier run as a model: no network, no cost."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict, deque
from pathlib import Path

from evolve.journal import Journal
from evolve.models.base import Failure, Model, Reply
from evolve.records import Exchange, Fault, Prompt, Request, Usage


class Recorded(Model):
    """Answers a prompt with the reply that it got then; any other prompt with the next reply not yet used.

    Faults are not repeated.
    """

    def __init__(self, folder: Path) -> None:
        """folder: of the run.

        Raises:
            JournalError: there is no run.
        """
        self._folder = folder
        self._lock = threading.Lock()
        self._replies: dict[int, Exchange] = {}
        self._by_prompt: defaultdict[bytes, deque[int]] = defaultdict(deque)
        with Journal.open(folder, read_only=True) as journal:
            for entry in journal.entries():
                if isinstance(entry.record, Request):
                    self._by_prompt[_digest(entry.record.prompt)].append(entry.record.number)
                elif isinstance(entry.record, Exchange) and entry.record.fault is None:
                    self._replies[entry.record.number] = entry.record

    def ask(self, prompt: Prompt, reply_tokens: int) -> Reply:
        with self._lock:
            numbers = self._by_prompt[_digest(prompt)]
            while numbers and numbers[0] not in self._replies:
                numbers.popleft()
            if not self._replies:
                raise Failure(Fault.USED_UP, f"all replies of {self._folder} are used up")
            number = numbers.popleft() if numbers else min(self._replies)
            found = self._replies.pop(number)
        return Reply(found.reply, Usage(), found.cut)


def _digest(prompt: Prompt) -> bytes:
    return hashlib.sha256(f"{prompt.system}\0{prompt.user}".encode("utf-8", "surrogatepass")).digest()
