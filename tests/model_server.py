"""A stand-in for a language model: a real HTTP server on loopback that speaks OpenAI's chat completions and
Anthropic's messages, streaming and not, with usage, a prompt cache, latency and faults.

It answers with children of the program in the prompt, made by the genetic operators, so that a search through it
really improves; a search/replace edit if the prompt speaks of one, else the whole program. To run it by itself:

    python tests/model_server.py --latency 1 --faults 0.1

prints its base URL; any tool that takes an OpenAI-compatible server can be pointed at it.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import hashlib
import json
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from evolve import program as programs
from evolve.errors import ProgramError
from evolve.proposers.genetic import GeneticProposer
from evolve.records import Evaluation, Member, Proposal, Sample, Split, Status

FAULTS = (
    "rate-limited",
    "rate-limited-after",
    "server-error",
    "overloaded",
    "timeout",
    "cut",
    "empty",
    "refused",
    "malformed",
    "wrong-key",
    "too-long",
    "filtered",
    "no-credit",
    "unknown-model",
)
RANDOM_FAULTS = (*FAULTS[:9], "too-long", "filtered")
"""Those that one call can have and the next one not."""

_FENCE = re.compile(r"```(?:python)?[ \t]*\n(.*?)```", re.DOTALL)
CACHE_STEP = 128  # tokens in which the prompt cache counts
CACHE_LEAST = 1024  # tokens from which on a prompt is kept
Answer = Callable[[str, random.Random], str]


def tokens(text: str) -> int:
    return -(-len(text) // 4)


@dataclass
class Call:
    """What the server was asked, and what it made of it."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    fault: str = ""


@dataclass
class Behaviour:
    """How the server behaves; may be changed while it runs.

    script: faults of the next calls, in their order, "" for none; afterwards chance decides.
    rate: the share of calls with a fault drawn from `faults`.
    """

    latency_s: float = 0.0
    rate: float = 0.0
    faults: Sequence[str] = RANDOM_FAULTS
    script: list[str] = field(default_factory=list)
    retry_after_s: float = 0.05
    hang_s: float = 30.0
    seed: int = 1


class Genetics:
    """Answers with a child of the first program in a prompt; others in the prompt are its donors."""

    def __init__(self, imports: Sequence[str] = ("math", "numpy", "itertools", "heapq", "functools")) -> None:
        self._imports = tuple(imports)

    def __call__(self, prompt: str, rng: random.Random) -> str:
        found = programs_in(prompt)
        if not found and "# Task: take notes" in prompt:
            helped = prompt.partition("Helped:")[2].partition("Did not help:")[0]
            return "\n".join(re.findall(r"^- .+$", helped, re.MULTILINE)) or "- nothing has helped so far"
        if not found:
            return "There is no program in this prompt, so nothing can be improved."
        parent, donors = found[0], found[1:]
        proposal = self.child(_entry(prompt, parent), parent, donors, rng)
        if proposal.candidate is None:
            return f"No idea: {proposal.reason}."
        child = proposal.candidate.files["program.py"]
        idea = f"Idea: {proposal.candidate.note or proposal.operator}\n\n"
        if "<<<<<<< SEARCH" in prompt and rng.random() < 0.8:
            edits = edit_blocks(parent, child)
            if edits:
                return idea + edits
        return f"{idea}```python\n{child}```\n"

    def child(self, entry: str, parent: str, donors: Sequence[str], rng: random.Random) -> Proposal:
        """A child of a program, made by the genetic operators."""
        members = [_member(source) for source in (parent, *donors)]
        proposer = GeneticProposer(entry, "program.py", self._imports, ())
        return proposer.propose(Sample(members[0], tuple(members[1:])), 1, rng)


class Constants:
    """Answers with an edit of one number of the first program: next to no work, for measuring whoever asks."""

    def __call__(self, prompt: str, rng: random.Random) -> str:
        lines = "\n".join(programs_in(prompt)[:1]).splitlines()  # of the parent
        numbered = [line for line in lines if re.search(r"\b\d+\.\d+\b", line) and lines.count(line) == 1]
        numbered = [line for line in numbered if line.startswith("    ")]
        if not numbered:
            return "There is no number to change."
        line = rng.choice(numbered)
        changed = re.sub(r"\b\d+\.\d+\b", f"{rng.uniform(0, 2):.6f}", line, count=1)
        return f"Idea: another number\n\n<<<<<<< SEARCH\n{line}\n=======\n{changed}\n>>>>>>> REPLACE\n"


ANSWERS: dict[str, Callable[[], Answer]] = {"genetic": Genetics, "constants": Constants}


def edit_blocks(old: str, new: str) -> str:
    """Search/replace blocks that make one text of another; "" where a block cannot be made unique."""
    before, after = old.splitlines(), new.splitlines()
    blocks = []
    for group in difflib.SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(2):
        lines = before[group[0][1] : group[-1][2]]
        if old.count("\n".join(lines)) != 1:
            return ""
        replaced = after[group[0][3] : group[-1][4]]
        blocks.append("\n".join(["<<<<<<< SEARCH", *lines, "=======", *replaced, ">>>>>>> REPLACE"]))
    return "\n\n".join(blocks) + "\n"


def programs_in(prompt: str) -> list[str]:
    """Fenced texts that parse and define a function, in their order."""
    found = []
    for text in _FENCE.findall(prompt):
        try:
            tree = programs.parse(text)
        except ProgramError:
            continue
        if programs.defined_functions(tree):
            found.append(text)
    return found


def _entry(prompt: str, source: str) -> str:
    """The function that the prompt asks for, if it names one of the program's; else the program's last."""
    names = list(programs.defined_functions(ast.parse(source)))
    asked = re.findall(r"\b(\w+)\(", prompt[:6000])
    return next((name for name in asked if name in names), names[-1])


def _member(source: str) -> Member:
    candidate = programs.make_candidate({"program.py": source})
    return Member(candidate, Evaluation(candidate.id, Split.TRAIN, Status.OK, (0.0,), (0.0,)))


class ModelServer:
    """The server, in threads of this process; `url` is the base URL for OpenAI, `root` the one for Anthropic."""

    def __init__(
        self, behaviour: Behaviour | None = None, answer: Answer | None = None, port: int = 0
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.answer: Answer = answer or Genetics()
        self.calls: list[Call] = []
        self.keep_calls = True
        self.counts: Counter[str] = Counter()
        self.most_in_flight = 0
        self.connections = 0
        self.closing = threading.Event()
        self._in_flight = 0
        self._cached: set[str] = set()
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._http = _Server(("127.0.0.1", port), handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    def __enter__(self) -> ModelServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()

    def begin(self, call: Call) -> tuple[str, random.Random]:
        """Note a call; the fault it shall have, and the dice for its answer."""
        with self._lock:
            number = self.counts["calls"]
            self.counts["calls"] += 1
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
            rng = random.Random(f"{self.behaviour.seed}/{number}")
            if self.behaviour.script:
                call.fault = self.behaviour.script.pop(0)
            elif rng.random() < self.behaviour.rate:
                call.fault = rng.choice(list(self.behaviour.faults))
            self.counts[call.fault or "answered"] += 1
            if self.keep_calls:
                self.calls.append(call)
            return call.fault, rng

    def end(self) -> None:
        with self._lock:
            self._in_flight -= 1

    def from_cache(self, text: str) -> int:
        """Tokens of a prompt that begin like an earlier one; the prompt is kept."""
        total = tokens(text)
        if total < CACHE_LEAST:
            return 0
        steps = range(CACHE_LEAST, total + 1, CACHE_STEP)
        digests = [hashlib.sha256(text[: 4 * size].encode()).hexdigest() for size in steps]
        with self._lock:
            known = [size for size, digest in zip(steps, digests, strict=True) if digest in self._cached]
            self._cached.update(digests)
        return max(known, default=0)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no error of the server."""


@dataclass(frozen=True)
class _Said:
    """An answer with its usage. cached: tokens of the prompt from the cache; written: to it."""

    text: str
    finish: str
    input: int
    output: int
    cached: int
    written: int


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: ModelServer
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        self.owner.connections += 1

    def log_message(self, *args: object) -> None:
        """Silent."""

    def do_GET(self) -> None:
        self._json(200, {"object": "list", "data": [{"id": "stand-in", "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        call = Call(self.path, body, dict(self.headers.items()))
        fault, rng = self.owner.begin(call)
        try:
            self.owner.closing.wait(self.owner.behaviour.latency_s)
            if self.path.endswith("/chat/completions"):
                self._openai(body, fault, rng)
            elif self.path.endswith("/messages"):
                self._anthropic(body, fault, rng)
            else:
                self._json(404, {"error": {"message": f"no such path {self.path}"}})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            self.owner.end()

    # ---- the two interfaces

    def _openai(self, body: Mapping[str, Any], fault: str, rng: random.Random) -> None:
        if self._fail(fault, body):
            return
        text = "\n".join(message["content"] for message in body["messages"])
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or 10**9
        said = self._say(text, text, limit, fault, rng)
        usage = {
            "prompt_tokens": said.input,
            "completion_tokens": said.output,
            "total_tokens": said.input + said.output,
            "prompt_tokens_details": {"cached_tokens": said.cached},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }
        finish = {"filtered": "content_filter"}.get(fault, said.finish)
        head = {"id": "c", "created": 0, "model": body["model"]}
        refusal = "I cannot help with that." if fault == "refused" else None
        if not body.get("stream"):
            message = {"role": "assistant", "content": said.text, "refusal": refusal}
            choice = {"index": 0, "finish_reason": finish, "message": message}
            self._json(200, {**head, "object": "chat.completion", "choices": [choice], "usage": usage}, fault)
            return
        head["object"] = "chat.completion.chunk"
        parts: list[dict[str, Any]] = [
            {**head, "choices": [{"index": 0, "delta": {"content": part}, "finish_reason": None}]}
            for part in _pieces(said.text)
        ]
        if refusal:
            delta = {"refusal": refusal}
            parts.append({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        parts.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        parts.append({**head, "choices": [], "usage": usage})
        self._stream([f"data: {json.dumps(part)}\n\n" for part in parts] + ["data: [DONE]\n\n"], fault)

    def _anthropic(self, body: Mapping[str, Any], fault: str, rng: random.Random) -> None:
        if self._fail(fault, body):
            return
        blocks = body.get("system") or []
        system = blocks if isinstance(blocks, str) else "\n".join(block["text"] for block in blocks)
        marked = not isinstance(blocks, str) and any("cache_control" in block for block in blocks)
        content = "\n".join(message["content"] for message in body["messages"])
        said = self._say(f"{system}\n{content}", system if marked else "", body["max_tokens"], fault, rng)
        stop = {"stop": "end_turn", "length": "max_tokens"}[said.finish]
        stop = "refusal" if fault in ("refused", "filtered") else stop
        usage = {
            "input_tokens": said.input - said.cached - said.written,
            "cache_read_input_tokens": said.cached,
            "cache_creation_input_tokens": said.written,
            "output_tokens": said.output,
        }
        head = {"id": "m", "type": "message", "role": "assistant", "model": body["model"]}
        if not body.get("stream"):
            text = [{"type": "text", "text": said.text}] if said.text else []
            message = {**head, "content": text, "stop_reason": stop, "stop_sequence": None, "usage": usage}
            self._json(200, message, fault)
            return
        begun = {**head, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        events: list[dict[str, Any]] = [{"type": "message_start", "message": begun}, block]
        for part in _pieces(said.text):
            delta = {"type": "text_delta", "text": part}
            events.append({"type": "content_block_delta", "index": 0, "delta": delta})
        events.append({"type": "content_block_stop", "index": 0})
        done = {"stop_reason": stop, "stop_sequence": None}
        events.append({"type": "message_delta", "delta": done, "usage": usage})
        events.append({"type": "message_stop"})
        self._stream([f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events], fault)

    def _say(self, prompt: str, cacheable: str, limit: int, fault: str, rng: random.Random) -> _Said:
        text = "" if fault in ("empty", "refused") else self.owner.answer(prompt, rng)
        finish = "stop"
        if tokens(text) > limit:
            text, finish = text[: 4 * limit], "length"
        cached = self.owner.from_cache(cacheable)
        kept = tokens(cacheable) if tokens(cacheable) >= CACHE_LEAST else 0
        written = kept - cached if self.path.endswith("/messages") and not cached else 0
        return _Said(text, finish, tokens(prompt), tokens(text), cached, written)

    # ---- faults

    def _fail(self, fault: str, body: Mapping[str, Any]) -> bool:
        """Answer with an error if that is the fault; whether it was."""
        behaviour = self.owner.behaviour
        errors: dict[str, tuple[int, str, str]] = {
            "rate-limited": (429, "rate_limit_error", "Rate limit reached"),
            "rate-limited-after": (429, "rate_limit_error", "Rate limit reached"),
            "server-error": (500, "api_error", "Internal server error"),
            "overloaded": (529 if self.path.endswith("/messages") else 503, "overloaded_error", "Overloaded"),
            "wrong-key": (401, "authentication_error", f"Incorrect API key provided: {self._key()}"),
            "too-long": (400, "invalid_request_error", "prompt is too long: context_length_exceeded"),
            "no-credit": (429, "insufficient_quota", "You exceeded your current quota"),
            "unknown-model": (404, "not_found_error", f"model {body.get('model')} does not exist"),
        }
        if fault == "filtered" and not self.path.endswith("/messages"):
            errors["filtered"] = (400, "content_filter", "The prompt triggered the content filter")
        if fault == "timeout":
            self.owner.closing.wait(behaviour.hang_s)
            self.close_connection = True
            return True
        if fault not in errors:
            return False
        status, kind, message = errors[fault]
        after = {"Retry-After": f"{behaviour.retry_after_s:g}"} if fault == "rate-limited-after" else {}
        error = {"type": kind, "code": kind, "message": message}
        self._json(status, {"type": "error", "error": error}, headers=after)
        return True

    def _key(self) -> str:
        return self.headers.get("x-api-key") or self.headers.get("Authorization", "").removeprefix("Bearer ")

    # ---- writing

    def _json(
        self, status: int, tree: object, fault: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        data = json.dumps(tree).encode()
        if fault == "malformed":
            data = b"<html>gateway</html>" if len(data) % 2 else data[: len(data) // 2]
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if fault == "cut" else data)
        self.wfile.flush()
        self.close_connection = fault == "cut"

    def _stream(self, events: Sequence[str], fault: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if fault == "malformed":
            events = ["event: message_start\ndata: {not json\n\n"]
        elif fault == "cut":
            events = events[: len(events) // 2]
        for event in events:
            data = event.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        if fault == "cut":
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()


def _pieces(text: str, size: int = 400) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before an answer")
    parser.add_argument("--faults", type=float, default=0.0, help="share of calls with a fault")
    parser.add_argument("--hang", type=float, default=30.0, help="seconds that a hanging call takes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--answer", choices=ANSWERS, default="genetic", help="where programs come from")
    options = parser.parse_args()
    behaviour = Behaviour(options.latency, options.faults, hang_s=options.hang, seed=options.seed)
    with ModelServer(behaviour, ANSWERS[options.answer](), options.port) as server:
        server.keep_calls = False
        print(server.url, flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
