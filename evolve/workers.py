"""Where candidates are evaluated: threads with a warm jail each."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

from evolve.archives import needs_descriptors
from evolve.cache import Cache
from evolve.evaluate import Evaluator
from evolve.jail.attacks import require_closed
from evolve.problem import Problem
from evolve.records import Evaluation, Split
from evolve.search import Task
from evolve.settings import Settings, available_cores
from evolve.trial import Seen


class Workers:
    """Threads that each own an evaluator, and so a warm jail. The work itself happens in the jails."""

    def __init__(
        self,
        the_problem: Problem,
        the_settings: Settings,
        seen: Seen,
        cache: Cache | None = None,
        profiled: bool = False,
    ) -> None:
        self.count = the_settings.workers
        self._problem = the_problem
        self._minimum = the_settings.jail.minimum
        self._describe = needs_descriptors(the_settings.archive)
        self._seen = seen
        self._cache = cache
        self._profiled = profiled
        self._cancelled = threading.Event()
        self._local = threading.local()
        self._evaluators: list[Evaluator] = []
        self._pool = ThreadPoolExecutor(self.count, "evaluator")

    def __enter__(self) -> Workers:
        first = self._evaluator()
        # a jail that cannot be built, or that does not hold, is told here, before anything is evaluated
        require_closed(first.jail.level)
        first.scale(Split.TRAIN)
        first.scale(Split.VALIDATION)
        return self

    def __exit__(self, *error: object) -> None:
        self.cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for evaluator in self._evaluators:
            evaluator.close()

    def cancel(self) -> None:
        """Abandon what is under way."""
        self._cancelled.set()

    def capacity(self) -> int:
        return self.count

    def submit(self, task: Task) -> Future[Evaluation]:
        return self._pool.submit(self._evaluate, task)

    def _evaluate(self, task: Task) -> Evaluation:
        if not hasattr(self._local, "evaluator"):
            self._local.evaluator = self._evaluator()
        evaluator: Evaluator = self._local.evaluator
        return evaluator.evaluate(task.candidate, task.split, task.race)

    def _evaluator(self) -> Evaluator:
        evaluator = Evaluator(
            self._problem,
            self._minimum,
            self._seen,
            self._cancelled,
            self._cache,
            self._describe,
            settled=self.count >= available_cores(),
            profiled=self._profiled,
        )
        if self._evaluators:
            evaluator.share_scales(self._evaluators[0])
        self._evaluators.append(evaluator)
        return evaluator
