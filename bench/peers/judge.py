"""What every other system gets as its evaluator: a program file in, its score on the training instances out.

It lies in the work folder of a run as evaluator.py, beside task.json (instances, limits, scales) and objective.py
(evolve's own trusted evaluator of the problem, a file without dependencies on evolve), and needs numpy alone.

The score for searching is (1 + s) / 2, at least 0.001, where s is evolve's normalised score (0 = baseline, 1 =
optimum), because the systems take 0 for a failure. Two ways to run a program (task.json, "apart"):

False: loaded by importlib into the process that evaluates, as the systems' own examples do;
True: in a process of its own with limits of time and memory, which returns decisions; they are judged here.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

HERE = Path(__file__).resolve().parent
TASK = json.loads((HERE / "task.json").read_text())
WALL_S = 20.0  # of a program in a process of its own, all instances together
MEMORY = 2 << 30  # its address space in bytes


def _module(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _array(value):
    return np.array(value["int64"], np.int64) if isinstance(value, dict) and "int64" in value else value


objective_module = _module("objective", HERE / "objective.py")
INSTANCES = [
    SimpleNamespace(arguments={key: _array(each) for key, each in item["arguments"].items()}, **item["rest"])
    for item in TASK["instances"]
]


def decide(program_path):
    """Decisions on all instances, each within its CPU limit. Raises: TimeoutError, or what the program raises."""
    function = getattr(_module("candidate", program_path), TASK["entry"])
    decisions = []
    for instance in INSTANCES:
        begun = time.thread_time()
        decisions.append(function(*(np.copy(value) for value in instance.arguments.values())))
        if time.thread_time() - begun > instance.cpu_s:
            raise TimeoutError(f"an instance passed its limit of {instance.cpu_s} s of CPU")
    return decisions


def score(decisions):
    """evolve's normalised score of the decisions. Raises: the evaluator's Invalid."""
    scores = []
    for instance, decision in zip(INSTANCES, decisions, strict=True):
        parsed = objective_module.check(instance, decision)
        found = objective_module.objective(instance, parsed)
        scores.append(1.0 - TASK["sign"] * (found - instance.bound) / instance.scale)
    return float(np.mean(scores))


def _plain(decision):
    return decision.tolist() if isinstance(decision, np.ndarray) else [int(each) for each in decision]


def _decide_apart(program_path):
    """The same decisions from a process of its own, and the CPU seconds that it took."""
    with tempfile.TemporaryFile() as answer:
        command = [sys.executable, str(HERE / "evaluator.py"), "--decide", program_path]
        process = subprocess.Popen(
            command, stdout=answer, stderr=subprocess.PIPE, env={}, start_new_session=True, preexec_fn=_limit
        )
        deadline = time.monotonic() + WALL_S
        done, status, usage = 0, 0, None
        while not done and time.monotonic() < deadline:
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
            if not done:
                time.sleep(0.005)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if not done:
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        process.stderr.close()
        cpu_s = usage.ru_utime + usage.ru_stime
        if not done:
            raise TimeoutError(f"the program took more than {WALL_S} s")
        answer.seek(0)
        text = answer.read().decode()
    if status or not text:
        raise RuntimeError(f"the program ended with status {status} and without an answer")
    found = json.loads(text)
    if "error" in found:
        raise RuntimeError(found["error"])
    return found["decisions"], cpu_s


def _limit():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def evaluate(program_path):
    """{"combined_score": ...}; 0.0 and "error" for a program that fails."""
    program_path = str(program_path)
    source = Path(program_path).read_text()
    begun, entered = time.thread_time(), time.process_time()
    children_s, error, found = 0.0, "", None
    try:
        if TASK["apart"]:
            decisions, children_s = _decide_apart(program_path)
        else:
            decisions = decide(program_path)
        found = score(decisions)
        result = {"combined_score": max(0.001, (1.0 + found) / 2.0)}
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"[:300]
        result = {"combined_score": 0.0, "error": error}
    _note(source, time.thread_time() - begun + children_s, entered, found, error)
    return result


def _note(source, cpu_s, entered_s, found, error):
    """One line a program evaluated, and its text; written by whichever process evaluates."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    kept = HERE / "log" / f"{digest}.py"
    if not kept.exists():
        kept.write_text(source)
    line = {"at": time.time(), "cpu_s": cpu_s, "entered_s": entered_s, "digest": digest, "score": found}
    with (HERE / "log" / "evaluations.jsonl").open("a") as file:
        file.write(json.dumps({**line, "error": error}) + "\n")


if __name__ == "__main__" and sys.argv[1:2] == ["--decide"]:
    out = os.dup(1)
    os.dup2(2, 1)  # what a program prints is no answer
    try:
        reply = {"decisions": [_plain(each) for each in decide(sys.argv[2])]}
    except Exception as problem:
        reply = {"error": f"{type(problem).__name__}: {problem}"[:300]}
    with os.fdopen(out, "w") as file:
        file.write(json.dumps(reply))
