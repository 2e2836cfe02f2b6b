"""Dask as the engine: a scheduler elsewhere, or a cluster of its own on this machine.

A worker is examined when it is first seen; if it passes, it is given the resource EVOLVE for each of its threads, and
every batch asks for one: Dask's own scheduler does the rest. What was under way on a worker that died, it runs again
elsewhere; only where there is no such elsewhere, the batches come back and wait here: a worker that is examined later
would not be given what waits in the scheduler.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from distributed import Client, Future, Security, get_worker
from distributed.client import FutureCancelledError
from distributed.comm import connect

from evolve.backends.base import Host, Lost, Returned
from evolve.backends.environment import scrubbed
from evolve.backends.local import gpus
from evolve.backends.messages import Examined
from evolve.backends.station import examine, serve
from evolve.errors import BackendError

SLOT = "EVOLVE"  # the resource that examined workers have, one for each thread
GPU = "GPU"  # the resource that `dask worker --resources GPU=1` declares
COST_S = 0.005  # of a batch: serialising, the scheduler, the way there and back
CONNECT_S = 10.0  # until the scheduler answers
RECONNECT_S = 60.0  # until a scheduler that was restarted answers


def enlist(parcel: bytes, slots: int) -> bytes:
    """On a worker: examine it, and take it in if it passes."""
    answer = examine(parcel)
    if not msgspec.msgpack.decode(answer, type=Examined).refusal:
        worker = get_worker()
        told = worker.set_resources(**{SLOT: slots})
        asyncio.run_coroutine_threadsafe(told, worker.loop.asyncio_loop).result(CONNECT_S)
    return answer


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
        self._sent: set[Future] = set()
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

    def look(self) -> None:
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
                self._hosts[address] = _host(answer, name, slots)
        if self._sent and not self.slots():
            self._client.cancel(list(self._sent))

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

    def send(self, batch: bytes, returned: Returned) -> None:
        if self._client.status != "running":
            raise Lost(f"the connection to the Dask scheduler {self._address} is lost; trying again")
        future = self._client.submit(serve, batch, resources=self._resources, pure=False)
        self._sent.add(future)  # a future that nobody holds is given up

        def ended(future: Future) -> None:
            self._sent.discard(future)
            returned(_answer(future))

        future.add_done_callback(ended)

    def close(self) -> None:
        if self._client.status == "running":
            with suppress(OSError, TimeoutError):
                self._client.cancel(list(self._sent))
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


def _host(answer: Future, name: str, slots: int) -> Host:
    found = _answer(answer)
    if isinstance(found, Lost):
        return Host(name, "", 0, f"it could not be examined: {found}")
    examined = msgspec.msgpack.decode(found, type=Examined)
    name = f"{examined.host} ({name})"
    return Host(name, examined.level, 0 if examined.refusal else slots, examined.refusal)


def _answer(future: Future) -> bytes | Lost:
    if future.status == "finished":
        try:
            found = future.result(timeout=RECONNECT_S)
        except (OSError, TimeoutError, FutureCancelledError) as error:
            return Lost(f"the result did not come: {error}")
        assert isinstance(found, bytes)
        return found
    if future.status == "error":
        cause = future.exception(timeout=RECONNECT_S)
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
    root = str(Path(__file__).parents[2])
    environment = scrubbed()
    # the very evolve of this process, wherever it was imported from
    environment["PYTHONPATH"] = ":".join([root, *filter(None, [environment.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-m", "evolve.backends.local_dask", str(count), str(found)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
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
