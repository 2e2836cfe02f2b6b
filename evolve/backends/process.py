"""An evaluator in a process of its own, for a worker of this machine: `python -m evolve.backends.process`.

Where a simulator asks a policy thousands of questions, the trusted side of an evaluation is mostly Python, at which
threads of one process take turns: two of them get no further than one. So each such worker has a process beside it,
which reads a `Setup` and then batches of one evaluation (messages.py) from standard input, answers each with a `Done`
on standard output, and ends with its input, or on SIGTERM.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import nullcontext, suppress
from pathlib import Path

import msgspec

from evolve import problem
from evolve.backends.environment import for_children
from evolve.backends.messages import Batch, Done, pack, unpack
from evolve.backends.station import do
from evolve.cache import Cache
from evolve.errors import BackendError, EvaluatorError, JailError
from evolve.evaluate import Evaluator
from evolve.proposers.process import framed, messages
from evolve.records import Evaluation, Split
from evolve.search import Task
from evolve.trial import CancelledEvaluation, Seen

ATTEMPTS = 3  # processes that an evaluation may cost before the machine is to blame
END_S = 5.0  # for a process to put its things away


class Setup(msgspec.Struct, frozen=True, array_like=True):
    """What an evaluator is made of (see Evaluator).

    folder, data: of the problem; data "" = none. digest: of the problem as the run knows it.
    baselines: objectives of the baseline, which need not be run again. cache: the file; "" = none.
    """

    folder: str
    data: str
    digest: str
    baselines: dict[Split, list[float]]
    minimum: str
    describe: bool
    profiled: bool
    cache: str


class EvaluatorProcess:
    """The worker's side: a process that is started when it is first needed, and anew if it dies.

    Used by one thread; `cancel` and `stop` by any.
    """

    def __init__(self, setup: Setup, seen: Seen, cancelled: threading.Event) -> None:
        self._setup = setup
        self._seen = seen
        self._cancelled = cancelled
        self._known = 0  # digests of decisions that the process was told
        self._process: subprocess.Popen[bytes] | None = None

    def evaluate(self, task: Task) -> Evaluation:
        """As Evaluator.evaluate.

        Raises:
            EvaluatorError, JailError: as there.
            BackendError: one process after the other died of it.
            CancelledEvaluation: the run is stopping.
        """
        for _ in range(ATTEMPTS):
            done = None if self._cancelled.is_set() else self._ask(task)
            if done is not None:
                return _found(done)
            if self._cancelled.is_set():
                raise CancelledEvaluation
            self.close()
        raise BackendError(
            f"the process that evaluated {task.candidate.id} ended {ATTEMPTS} times, most likely for want of memory; "
            f"the run stops here, and `evolve resume` goes on with all that was evaluated"
        )

    def cancel(self) -> None:
        """Abandon what is under way."""
        if (process := self._process) is not None:
            process.terminate()

    def stop(self) -> None:
        """Wait for the process to put its things away, such as what it has for the cache; not for long."""
        if (process := self._process) is not None:
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:  # its simulator goes on and on
                process.kill()

    def close(self) -> None:
        """Give back what is left of a process that has ended."""
        process, self._process = self._process, None
        if process is None:
            return
        process.wait()
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):  # what it was not told any more
            process.stdin.close()
        process.stdout.close()

    def _ask(self, task: Task) -> Done | None:
        """The process's answer; None where it ended instead."""
        process = self._process or self._start()
        if self._cancelled.is_set():  # by now, and it may not have been told
            return None
        assert process.stdin is not None
        assert process.stdout is not None
        horizon = task.race.horizon if task.race else 0
        news = self._seen.since(self._known)[: max(0, horizon - self._known)]
        with suppress(BrokenPipeError):
            process.stdin.write(framed(pack("", "", [(0, task)], self._known, news, 0.0)))
            process.stdin.flush()
            self._known += len(news)
            for answer in messages(process.stdout):
                return msgspec.msgpack.decode(answer, type=Done)
        return None

    def _start(self) -> subprocess.Popen[bytes]:
        self._known = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "evolve.backends.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=for_children(),
            start_new_session=True,  # Ctrl-C in the terminal is the loop's to handle
        )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(framed(msgspec.msgpack.encode(self._setup)))
        return self._process


def _found(done: Done) -> Evaluation:
    if done.evaluation is not None:
        return done.evaluation
    raise EvaluatorError(done.fault) if done.evaluator else JailError(done.fault)


def main() -> None:
    """Serve until standard input ends."""
    found = messages(sys.stdin.buffer)
    answers = sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever prints must not get among the answers
    cancelled, evaluating = threading.Event(), threading.Event()

    def stop(*_: object) -> None:
        cancelled.set()  # an evaluation looks at that
        if not evaluating.is_set():
            raise CancelledEvaluation

    signal.signal(signal.SIGTERM, stop)
    setup = msgspec.msgpack.decode(next(found), type=Setup)
    the_problem = problem.load(setup.folder, setup.data)
    seen = Seen()
    with (
        Cache(Path(setup.cache)) if setup.cache else nullcontext() as cache,
        Evaluator(
            the_problem, setup.minimum, seen, cancelled, cache, setup.describe, profiled=setup.profiled
        ) as evaluator,
    ):
        changed = the_problem.digest != setup.digest
        if not changed:
            for split, baseline in setup.baselines.items():
                evaluator.adopt(split, baseline)
        for text in found:  # ends with the input
            batch = msgspec.msgpack.decode(text, type=Batch)
            for digest in batch.digests:
                seen.add(digest)
            (job,) = batch.jobs
            if changed:
                fault = (
                    f"the problem {setup.folder} was changed while a run of it was under way; start a new one"
                )
                done = Done(0, 0.0, fault=fault, evaluator=True)
            else:
                evaluating.set()
                done = do(evaluator, unpack(batch, job), job.number)
                evaluating.clear()
            answers.write(framed(msgspec.msgpack.encode(done)))
            answers.flush()


if __name__ == "__main__":
    with suppress(CancelledEvaluation):
        try:
            main()
        except BrokenPipeError:  # the run has ended
            os._exit(0)
