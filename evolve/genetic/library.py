"""Programs as their files are worked on, read once, and children put together again.

A program of several files is varied one file at a time: the others are the parent's.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from evolve import program as programs
from evolve.errors import ProgramError
from evolve.genetic.source import Source, read
from evolve.records import Candidate

CACHE = 512  # parsed files that are kept
CHILDREN = 64  # proposals that are kept until they breed
Key = tuple[str, str]
"""A candidate's id, and the name of a file."""


class Library:
    """Reads files of candidates, each as a `Source` that must not be changed."""

    def __init__(
        self, entry: str, program: str, changing: Sequence[str] = (), optional: Sequence[str] = ()
    ) -> None:
        """
        Args:
            entry: name of the function that a program must define.
            program: name of the file that holds it.
            changing: names of the files that may change; empty = `program` alone.
            optional: names of functions that it may define beside the first.
        """
        self.entry = entry
        self.optional = tuple(optional)
        self.program = program
        self.changing = tuple(changing) or (program,)
        self.sources: dict[Key, Source] = {}
        self.children: dict[Key, Source] = {}  # just proposed: what their text would be read as
        self._normal: dict[str, str] = {}

    def file(self, candidate: Candidate, rng: random.Random) -> str:
        """One of the files that may change, larger ones more often.

        Raises:
            ProgramError: a file does not parse.
        """
        if len(self.changing) == 1:
            return self.changing[0]
        sizes = [self.source(candidate, name).size for name in self.changing]
        return rng.choices(self.changing, sizes)[0]

    def source(self, candidate: Candidate, name: str) -> Source:
        """
        Raises:
            ProgramError: the file does not parse, or no other file imports a function from it.
        """
        key = candidate.id, name
        known = self.sources.get(key)
        if known is None:
            known = self.children.pop(key, None) or self.read(candidate, name)
            if len(self.sources) >= CACHE:
                self.sources.pop(next(iter(self.sources)))
            self.sources[key] = known
        return known

    def read(self, candidate: Candidate, name: str) -> Source:
        """The same, without keeping it."""
        tree = programs.parse(candidate.files[name], name)
        wanted = [self.entry] if name == self.program else []
        if len(candidate.files) > 1:
            wanted += programs.exports(candidate.files, name)
        defined = programs.defined_functions(tree)
        if name == self.program:
            wanted += [each for each in self.optional if each in defined]
        wanted.sort(key=lambda each: each not in defined)
        if name != self.program and (not wanted or wanted[0] not in defined):
            raise ProgramError(f"{name}: no other file of the program imports a function from it")
        return read(tree, wanted[0], tuple(dict.fromkeys(wanted[1:])))

    def child(
        self, parent: Candidate, name: str, source: Source, operator: str, note: str, number: int
    ) -> Candidate:
        """The parent with another text of one file, its id without parsing that text again."""
        text = source.text
        digest = hashlib.sha256()
        for other in sorted(parent.files):
            normal = text if other == name else self._normalised(parent.files[other])
            digest.update(f"{other}\0{normal}\0".encode())
        identity = digest.hexdigest()[:16]
        self.children[identity, name] = source
        if len(self.children) > CHILDREN:
            self.children.pop(next(iter(self.children)))
        files = {**parent.files, name: text + "\n"}
        return Candidate(identity, files, (parent.id,), operator, note, number)

    def _normalised(self, text: str) -> str:
        if text not in self._normal:
            if len(self._normal) >= CACHE:
                self._normal.pop(next(iter(self._normal)))
            self._normal[text] = programs.normalise(programs.parse(text))
        return self._normal[text]
