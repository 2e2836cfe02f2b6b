"""Ray as the engine: a cluster that runs already, or one of its own on this machine.

A node is examined when it is first seen; every batch is a task that may run on the nodes that passed, and Ray's own
scheduler does the rest. What was under way on a worker that died, Ray runs again elsewhere.
"""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

# read when Ray is imported: without a token, whoever reaches a port of a cluster may run code there
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from evolve.backends.base import Host, Lost, Returned
from evolve.backends.environment import scrub
from evolve.backends.messages import host
from evolve.backends.station import examine, serve
from evolve.errors import BackendError

COST_S = 0.003  # of a batch: serialising, the scheduler, the way there and back
RETRIES = 3  # Ray's own, of a batch whose worker died
NODE = "ray.io/node-id"  # the label by which a task is kept to nodes


class RayEngine:
    """See base.Engine.

    Args:
        address: of the cluster (HOST:PORT on one of its nodes, ray://HOST:PORT from elsewhere, or auto); "" = start
            one on this machine, on loopback.
        workers: of that cluster. needs_gpu: batches go to nodes with a GPU only, one for each.

    Raises:
        BackendError: there is no cluster, it refuses the token, or it has no GPU where one is needed.
    """

    cost_s = COST_S

    def __init__(self, address: str, workers: int, needs_gpu: bool, key: str, parcel: bytes) -> None:
        self._needs_gpu = needs_gpu
        self._resource = "GPU" if needs_gpu else "CPU"
        self._hosts: dict[str, Host] = {}
        self._asked: dict[str, tuple[Future[bytes], str, int]] = {}
        self._allowed: Any = None  # the task, kept to the nodes that passed
        self._names: frozenset[str] = frozenset()  # of these nodes
        self._under_way: dict[Any, frozenset[str]] = {}
        self._lock = threading.Lock()
        _connect(address, workers)
        self._parcel = ray.put(parcel)
        options = {"num_cpus": 1, "num_gpus": int(needs_gpu), "max_retries": RETRIES}
        self._serve = ray.remote(**options)(serve)
        self._examine = ray.remote(examine)
        if needs_gpu and not ray.cluster_resources().get("GPU"):
            self.close()
            raise BackendError(
                "the problem needs a GPU, and no node of the Ray cluster has one; start a node that has: "
                "ray start --address HOST:PORT --num-gpus 1"
            )

    def look(self) -> None:
        there = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        before = set(self._hosts)
        self._hosts = {name: host for name, host in self._hosts.items() if name in there}
        self._asked = {name: asked for name, asked in self._asked.items() if name in there}
        for name, node in there.items():
            slots = int(node["Resources"].get(self._resource, 0))
            if slots and name not in self._hosts and name not in self._asked:
                self._ask(name, node["NodeManagerAddress"], slots)
        for name, (answer, where, slots) in list(self._asked.items()):
            if answer.done():
                del self._asked[name]
                self._hosts[name] = host(_answer(answer), where, slots)
        if set(self._hosts) != before:
            self._allow()
            with self._lock:
                stranded = [each for each, names in self._under_way.items() if names.isdisjoint(there)]
            for reference in stranded:  # no node is left that may run it
                ray.cancel(reference)

    def _ask(self, name: str, where: str, slots: int) -> None:
        there = NodeAffinitySchedulingStrategy(node_id=name, soft=False)
        answer = self._examine.options(num_cpus=1, scheduling_strategy=there).remote(self._parcel)
        self._asked[name] = (answer.future(), where, slots)

    def _allow(self) -> None:
        self._names = frozenset(name for name, host in self._hosts.items() if host.slots)
        selector = {NODE: f"in({','.join(sorted(self._names))})"}
        self._allowed = self._serve.options(label_selector=selector) if self._names else None

    def slots(self) -> int:
        return sum(host.slots for host in self._hosts.values())

    def hosts(self) -> Sequence[Host]:
        return list(self._hosts.values())

    def examining(self) -> bool:
        return bool(self._asked)

    def send(self, batch: bytes, returned: Returned) -> None:
        if self._allowed is None:
            raise Lost("no node of the Ray cluster may have work at present")
        try:
            reference = self._allowed.remote(batch, self._parcel)
        except RayError as error:
            raise Lost(f"Ray takes no work: {error}") from error
        with self._lock:
            self._under_way[reference] = self._names

        def ended(future: Future[bytes]) -> None:
            with self._lock:
                self._under_way.pop(reference, None)
            returned(_answer(future))

        reference.future().add_done_callback(ended)

    def close(self) -> None:
        with self._lock:
            under_way = list(self._under_way)
        for reference in under_way:
            ray.cancel(reference, force=False)
        ray.shutdown()


def _answer(future: Future[bytes]) -> bytes | Lost:
    error = future.exception()
    if error is not None:
        return Lost(f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}")
    return future.result()


def _connect(address: str, workers: int) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "configure_logging": False}
    if not address:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(16))
        os.environ.setdefault("RAY_worker_niceness", "0")  # by default its workers give way to all others
        here: dict[str, Any] = {
            "num_cpus": workers,
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        }
        with _as_it_was(), _without_keys():
            ray.init(address="local", **here, **quiet)
        found = ray.nodes()[0]["NodeManagerAddress"]
        if not ip_address(found).is_loopback:
            ray.shutdown()
            raise BackendError(
                f"Ray would listen on {found}, beyond this machine; start it yourself if that is meant, with "
                f"RAY_AUTH_MODE=token, and name it: --ray {found}:6379"
            )
        return
    try:
        with _as_it_was():
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        raise BackendError(
            f"--ray {address}: no Ray cluster can be used there ({str(error).strip().splitlines()[0]}); it has to run "
            f"with RAY_AUTH_MODE=token, and its token to be here: `ray get-auth-token` (see docs/scaling.md)"
        ) from None


@contextmanager
def _as_it_was() -> Iterator[None]:
    """Ray takes SIGTERM for itself; the run wants to end cleanly."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _without_keys() -> Iterator[None]:
    """What is started inside never sees a key; the processes of a local cluster have the environment of this one."""
    before = dict(os.environ)
    scrub(os.environ)
    try:
        yield
    finally:
        for name in before.keys() - os.environ.keys():
            os.environ[name] = before[name]
