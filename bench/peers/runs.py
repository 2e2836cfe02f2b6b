"""One run of one arm: its work folder, the server, the driver under watch, and the facts that are kept of it."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.peers import figures, stage, watch
from bench.peers.plan import SECRET, Plan
from bench.peers.systems import EVOLVE, ROOT, environment

OURS = {
    "log",
    "problem",
    "task.json",
    "statement.md",
    "evaluator.py",
    "objective.py",
    "initial.py",
    "output.txt",
}
OURS |= {
    "order.json",
    "server.json",
    "guard.json",
    "report.json",
    "resumed.json",
    "calls.jsonl",
    "evaluate.py",
}
OURS |= {"secret.txt", "child.txt", "__pycache__", "outcome.json"}
"""What lies in a work folder because of the comparison."""
MEMORY = 6 << 30  # address space of a process under a hostile program, so that the machine survives
RESUMED_CALLS = 10  # more than before the kill, after which a resumed run may end
FAULT_S = 20  # evaluation's time limit with hostile programs, where a system has such a setting


def run(plan: Plan) -> dict[str, Any]:
    """Run and measure; the facts, which are also left in the folder as outcome.json."""
    place = plan.folder
    shutil.rmtree(place, ignore_errors=True)
    folder = stage.prepare(place, plan.problem, plan.seed_program, plan.arm.apart)
    with _listener() as (port, heard):
        knows = _bait(plan, place, folder, port)
        with served(plan, place, knows) as url:
            _order(plan, place, folder, url, resume=False)
            watched = _watch(plan, place)
            facts = _facts(plan, place, watched, heard, knows)
            if plan.kill_after:
                before = figures.evaluated(plan, place)
                _order(plan, place, folder, url, resume=True)
                again = _watch(plan, place, final=True)
                facts["kill"] = figures.losses(plan, place, before, again)
    (place / "outcome.json").write_text(json.dumps(facts))
    return facts


def _bait(plan: Plan, place: Path, folder: Path, port: int) -> dict[str, object]:
    """What a hostile program is told of its surroundings."""
    secret, evaluator = place / "secret.txt", place / "evaluator.py"
    secret.write_text(SECRET)
    if plan.arm.system.name == EVOLVE:
        evaluator = (folder / stage.load(plan.problem).spec.evaluator).resolve()
    return {
        "secret": str(secret),
        "port": port,
        "evaluator": str(evaluator),
        "child": str(place / "child.txt"),
    }


@contextlib.contextmanager
def served(plan: Plan, place: Path, knows: Mapping[str, object]) -> Iterator[str]:
    """The stand-in server in a process of its own; its URL."""
    order = {
        "entry": stage.load(plan.problem).spec.entry.function,
        "seed": plan.repeat,
        "log": str(place / "calls.jsonl"),
        "latency_s": plan.latency_s,
        "attack": plan.attack,
        "place": dict(knows),
    }
    (place / "server.json").write_text(json.dumps(order))
    command = [sys.executable, "-m", "bench.peers.standin", str(place / "server.json")]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait()


def _order(plan: Plan, place: Path, folder: Path, url: str, resume: bool) -> None:
    order = {
        "place": str(place),
        "root": str(ROOT),
        "problem": str(folder),
        "url": url,
        "calls": plan.kill_after + RESUMED_CALLS if resume else plan.calls,
        "seed": plan.repeat,
        "seed_program": plan.seed_program,
        "settings": plan.arm.settings | (plan.arm.wide if plan.latency_s else {}),
        "timeout_s": FAULT_S if plan.attack else 0,
        "resume": resume,
    }
    (place / "order.json").write_text(json.dumps(order))


def _watch(plan: Plan, place: Path, final: bool = False) -> watch.Watched:
    system, log = plan.arm.system, place / "calls.jsonl"
    killing = plan.kill_after if not final else 0
    return watch.watch(
        [str(system.python), str(system.driver), str(place / "order.json")],
        environment(place),
        place,
        plan.patience_s,
        memory=MEMORY if plan.attack == "30 GB" else 0,
        kill_when=lambda: bool(killing) and len(figures.lines(log)) >= killing,
    )


def _facts(
    plan: Plan, place: Path, watched: watch.Watched, heard: list[bytes], knows: Mapping[str, object]
) -> dict[str, Any]:
    files, size = written(place)
    facts = {
        "kind": plan.kind,
        "arm": plan.arm.name,
        "repeat": plan.repeat,
        "latency_s": plan.latency_s,
        "asked": plan.calls,
        "ended": watched.ended,
        "code": watched.code,
        "wall_s": watched.wall_s,
        "peak_tree_mb": watched.peak_tree_mb,
        "peak_process_mb": watched.peak_process_mb,
        "files": files,
        "bytes": size,
        **figures.course(plan, place, watched),
    }
    if plan.attack:
        facts["attack"] = plan.attack
        facts |= figures.damage(plan, place, watched, heard, Path(str(knows["evaluator"])))
    return facts


def written(place: Path) -> tuple[int, int]:
    """Files and bytes that a system left, without what the comparison itself wrote."""
    own = [each for each in place.iterdir() if each.name not in OURS]
    found = [watch.written(each) if each.is_dir() else (1, each.stat().st_size) for each in own]
    return sum(files for files, _ in found), sum(size for _, size in found)


@contextlib.contextmanager
def _listener() -> Iterator[tuple[int, list[bytes]]]:
    """A port on loopback, and what came in there."""
    heard: list[bytes] = []

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = server.accept()
                with line:
                    heard.append(line.recv(1000))

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=listen, daemon=True).start()
        yield server.getsockname()[1], heard
        server.shutdown(socket.SHUT_RDWR)
