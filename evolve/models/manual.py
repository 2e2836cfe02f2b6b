"""A person, or another program, as the model: prompts are put into a folder, and replies taken from it."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from evolve.models.base import Model, Reply, estimate
from evolve.records import Prompt, Usage

LOOK_S = 0.2  # between two looks
PROMPT, REPLY = ".prompt.md", ".reply.md"


class Manual(Model):
    """Writes NAME.prompt.md and waits for NAME.reply.md, as long as it takes.

    A prompt that is there already, from before a stop, keeps its name. Write the reply elsewhere and move it here,
    or in one go: it is taken when it has not grown between two looks.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._closed = threading.Event()
        folder.mkdir(parents=True, exist_ok=True)

    def ask(self, prompt: Prompt, reply_tokens: int) -> Reply:
        name = self._write(f"{prompt.system}\n\n{prompt.user}")
        text = self._wait(self._folder / f"{name}{REPLY}")
        usage = Usage(estimate(prompt.system) + estimate(prompt.user), estimate(text), estimated=True)
        return Reply(text, usage)

    def close(self) -> None:
        self._closed.set()

    def _write(self, text: str) -> str:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        with self._lock:
            written = sorted(self._folder.glob(f"*{PROMPT}"))
            for path in written:
                if digest in path.name and not (self._folder / f"{_name(path)}{REPLY}").exists():
                    return _name(path)
            name = f"{len(written) + 1:05}-{digest}"
            temporary = self._folder / f".{name}.tmp"
            temporary.write_text(text, encoding="utf-8", errors="replace")
            temporary.replace(self._folder / f"{name}{PROMPT}")
            return name

    def _wait(self, path: Path) -> str:
        size = -1
        while not self._closed.wait(LOOK_S):
            found = path.stat().st_size if path.is_file() else -1
            if found > 0 and found == size:
                return path.read_text(encoding="utf-8", errors="replace")
            size = found
        return ""


def _name(path: Path) -> str:
    return path.name.removesuffix(PROMPT)
