"""Dask as the engine: a scheduler elsewhere, or a cluster of its own on this machine.

A worker is examined when it is first seen; if it passes, it is given the resource EVOLVE for each of its threads, and
every batch asks for one: Dask's own scheduler does the rest. What was under way on a worker that died, it runs again
elsewhere; only where there is no such elsewhere, the batches come back and wait here: a worker that is examined later
would not be given what waits in the scheduler.
"""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from distributed import Client, Future, Queue, Security, get_client, get_worker
from distributed.client import FutureCancelledError
from distributed.comm import connect

from evolve.backends.base import Host, Lost, Returned
from evolve.backends.environment import for_children
from evolve.backends.local import gpus
from evolve.backends.messages import Examined, host
from evolve.backends.station import examine, serve
from evolve.errors import BackendError

SLOT = "EVOLVE"  # the resource that examined workers have, one for each thread
GPU = "GPU"  # the resource that `dask worker --resources GPU=1` declares
COST_S = 0.005  # of a batch: serialising, the scheduler, the way there and back
CONNECT_S = 10.0  # until the scheduler answers
RECONNECT_S = 60.0  # until a scheduler that was restarted answers
LOOK_S = 0.01  # for each worker, between two looks at all of them
ARRIVAL_S = 10.0  # from the end of a task to the arrival of its reply
POLL_S = 1.0  # between two looks whether the end has come
NUMBER = 8  # bytes of a reply's number


def enlist(parcel: bytes, slots: int) -> bytes:
    """On a worker: examine it, and take it in if it passes."""
    answer = examine(parcel)
    if not msgspec.msgpack.decode(answer, type=Examined).refusal:
        worker = get_worker()
        told = worker.set_resources(**{SLOT: slots})
        asyncio.run_coroutine_threadsafe(told, worker.loop.asyncio_loop).result(CONNECT_S)
    return answer


def work(batch: bytes, number: int, name: str) -> None:
    """On a worker: do a batch. The reply goes through the scheduler.

    A result that stays with its worker until it is fetched, as Dask's do, is lost with it, and while a host does not
    answer, all who fetch something wait.
    """
    _replies(name).put(number.to_bytes(NUMBER, "little") + serve(batch))


@cache
def _replies(name: str) -> Any:
    """The queue to the loop, in a worker process."""
    return Queue(name, client=get_client())


@dataclass
class _Flight:
    """A batch under way. ended: when its task was done; its reply should be here soon."""

    future: Future
    returned: Returned
    ended: float = math.inf


class DaskEngine:
    """See base.Engine.

    Args:
        address: of the scheduler; "" = start a cluster on this machine, on loopback.
        workers: of that cluster. needs_gpu: batches go to slots with a GPU only.

    Raises:
        BackendError: there is no scheduler, or no GPU where one is needed.
    """

    cost_s = COST_S

    def __init__(self, address: str, workers: int, needs_gpu: bool, key: str, parcel: bytes) -> None:
        self._parcel = parcel
        self._key = key
        self._resources = {SLOT: 1.0, GPU: 1.0} if needs_gpu else {SLOT: 1.0}
        self._hosts: dict[str, Host] = {}
        self._asked: dict[str, tuple[Future, str, int]] = {}
        self._looked = 0.0
        self._count = 0
        self._name = f"evolve-{uuid.uuid4().hex[:12]}"  # of the queue by which replies come
        self._lock = threading.Lock()
        self._flights: dict[int, _Flight] = {}
        self._closing = threading.Event()
        self._here = None if address else _start(workers, needs_gpu)
        self._address = address or _address(self._here)
        try:
            asyncio.run(_knock(self._address))
            self._client = Client(self._address, timeout=CONNECT_S, set_as_default=False, name="evolve")
        except (OSError, ValueError, TimeoutError) as error:
            self._stop()
            raise BackendError(
                f"--dask {self._address}: no Dask scheduler answers ({error}); `dask scheduler` starts one"
            ) from None
        self._client._timeout = RECONNECT_S
        self._receiver = threading.Thread(target=self._receive, name="replies", daemon=True)
        self._receiver.start()

    def look(self) -> None:
        self._missed()
        if time.monotonic() - self._looked < LOOK_S * len(self._hosts) and self.slots():
            return
        self._looked = time.monotonic()
        there = self._there()
        self._hosts = {address: host for address, host in self._hosts.items() if address in there}
        for address in [address for address in self._asked if address not in there]:
            del self._asked[address]
        for address, facts in there.items():
            if address not in self._hosts and address not in self._asked:
                self._ask(address, facts)
        for address, (answer, name, slots) in list(self._asked.items()):
            if answer.done():
                del self._asked[address]
                self._hosts[address] = host(_answer(answer), name, slots)
        if not self.slots():
            with self._lock:
                stranded = [flight.future for flight in self._flights.values()]
            if stranded and self._client.status == "running":
                self._client.cancel(stranded)

    def _there(self) -> dict[str, dict[str, Any]]:
        """Facts of the workers by their addresses; none while the scheduler is away."""
        if self._client.status != "running":
            return {}
        try:
            found = self._client.sync(
                self._client.scheduler.identity, n_workers=-1, callback_timeout=CONNECT_S
            )
        except (OSError, TimeoutError, AttributeError):  # the last: it is away since this very moment
            return {}
        workers: dict[str, dict[str, Any]] = found["workers"]
        return workers

    def _ask(self, address: str, facts: dict[str, Any]) -> None:
        declared = facts.get("resources", {})
        slots, name = int(facts["nthreads"]), f"{facts['host']}"
        if GPU in self._resources:
            slots = min(slots, int(declared.get(GPU, 0)))
            if not slots:
                text = "it declares no GPU, which the problem needs: dask worker --resources GPU=1"
                self._hosts[address] = Host(name, "", 0, text)
                return
        answer = self._client.submit(
            enlist, self._parcel, slots, workers=[address], allow_other_workers=False, pure=False
        )
        self._asked[address] = (answer, name, slots)

    def slots(self) -> int:
        return sum(host.slots for host in self._hosts.values())

    def hosts(self) -> Sequence[Host]:
        return list(self._hosts.values())

    def examining(self) -> bool:
        return bool(self._asked)

    def send(self, batch: bytes, returned: Returned) -> None:
        if self._client.status != "running":
            raise Lost(f"the connection to the Dask scheduler {self._address} is lost; trying again")
        self._count += 1
        number = self._count
        future = self._client.submit(work, batch, number, self._name, resources=self._resources, pure=False)
        with self._lock:
            self._flights[number] = _Flight(future, returned)
        future.add_done_callback(lambda done: self._ended(number, done))

    def _ended(self, number: int, future: Future) -> None:
        """A task has ended. Its reply comes by the queue, before or after this."""
        if future.status == "finished":
            with self._lock:
                if number in self._flights:
                    self._flights[number].ended = time.monotonic()
        elif future.status == "error":
            cause = future.exception(timeout=CONNECT_S)
            self._deliver(number, Lost(f"{type(cause).__name__}: {cause}"))
        else:
            self._deliver(number, Lost(f"Dask says {future.status}"))

    def _deliver(self, number: int, answer: bytes | Lost) -> None:
        with self._lock:
            flight = self._flights.pop(number, None)
        if flight is not None:
            flight.returned(answer)

    def _missed(self) -> None:
        """Report what has ended and has not arrived: it was on its way when the connection broke."""
        now = time.monotonic()
        with self._lock:
            missed = [n for n, flight in self._flights.items() if now - flight.ended > ARRIVAL_S]
        for number in missed:
            self._deliver(number, Lost("a result was lost on its way"))

    def _receive(self) -> None:
        """Replies, as they come; a thread of its own."""
        inbox = None
        while not self._closing.is_set():
            try:
                inbox = inbox or Queue(self._name, client=self._client)
                found = [inbox.get(timeout=POLL_S), *inbox.get(batch=True)]
            except TimeoutError:
                continue
            except (OSError, KeyError, ValueError, AttributeError, CancelledError):
                # the scheduler is away, or another one is there that does not know the queue
                inbox = None
                self._closing.wait(POLL_S)
                continue
            for message in found:
                self._deliver(int.from_bytes(message[:NUMBER], "little"), message[NUMBER:])

    def close(self) -> None:
        self._closing.set()
        with self._lock:
            under_way = [flight.future for flight in self._flights.values()]
            self._flights.clear()
        if self._client.status == "running":
            with suppress(OSError, TimeoutError):
                self._client.cancel(under_way)
        self._receiver.join(2 * CONNECT_S)
        self._client.close(timeout=2)
        self._stop()

    def _stop(self) -> None:
        if self._here is not None:
            assert self._here.stdin is not None
            self._here.stdin.close()
            try:
                self._here.wait(10)
            except subprocess.TimeoutExpired:
                self._here.kill()
                self._here.wait()
            assert self._here.stdout is not None
            self._here.stdout.close()


def _answer(future: Future) -> bytes | Lost:
    if future.status == "finished":
        try:
            found = future.result(timeout=CONNECT_S)
        except (OSError, TimeoutError, FutureCancelledError) as error:
            return Lost(f"the result did not come: {error}")
        assert isinstance(found, bytes)
        return found
    if future.status == "error":
        cause = future.exception(timeout=CONNECT_S)
        return Lost(f"{type(cause).__name__}: {cause}")
    return Lost(f"Dask says {future.status}")


async def _knock(address: str) -> None:
    """See that a scheduler answers: a client that cannot connect makes a noise for long."""
    comm = await connect(address, timeout=CONNECT_S, **Security().get_connection_args("client"))
    await comm.close()


def _start(workers: int, needs_gpu: bool) -> subprocess.Popen[str]:
    found = gpus() if needs_gpu else 0
    if needs_gpu and not found:
        raise BackendError(
            "the problem needs a GPU, and this machine has none that nvidia-smi lists; name a cluster: --dask ADDRESS"
        )
    count = min(workers, found) if needs_gpu else workers
    return subprocess.Popen(
        [sys.executable, "-m", "evolve.backends.local_dask", str(count), str(found)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=for_children(),
        start_new_session=True,  # Ctrl-C in the terminal is ours to handle
    )


def _address(process: subprocess.Popen[str] | None) -> str:
    assert process is not None
    assert process.stdout is not None
    found = process.stdout.readline().strip()
    if not found:
        process.wait(10)
        raise BackendError(
            f"no Dask cluster could be started on this machine (exit code {process.returncode}); "
            f"`python -m evolve.backends.local_dask 1 0` says why"
        )
    return found
