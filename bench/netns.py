"""Hosts made of network namespaces: each has a network of its own, and a cable to this one that can be pulled."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

NUMBERS = 200  # of networks, each the third part of its addresses


class Namespace(NamedTuple):
    """name: for `ip netns exec`. cable: the device at this end; `here` and `there` are the addresses of its ends."""

    name: str
    cable: str
    here: str
    there: str


def ip(*words: str) -> None:
    """The command `ip`; raises CalledProcessError."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


def available() -> bool:
    """Whether namespaces can be made: that takes root, and a kernel that has them."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    made = subprocess.run(["ip", "netns", "add", "evolve-probe"], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", "evolve-probe"], capture_output=True, check=False)
    return made.returncode == 0


@contextmanager
def network(count: int) -> Iterator[list[Namespace]]:
    """So many namespaces, gone at the end. Several processes may have some at a time."""
    own = _claim()
    hosts = [
        Namespace(f"evolve{own}-{n}", f"ev{own}-{n}", f"10.{213 + n}.{own}.1", f"10.{213 + n}.{own}.2")
        for n in range(count)
    ]
    try:
        for place, host in enumerate(hosts):
            if place:
                ip("netns", "add", host.name)
            ip("link", "add", host.cable, "type", "veth", "peer", "name", "eth0", "netns", host.name)
            ip("addr", "add", f"{host.here}/24", "dev", host.cable)
            ip("link", "set", host.cable, "up")
            ip("-n", host.name, "addr", "add", f"{host.there}/24", "dev", "eth0")
            ip("-n", host.name, "link", "set", "eth0", "up")
            ip("-n", host.name, "link", "set", "lo", "up")
            ip("-n", host.name, "route", "add", "default", "via", host.here)
        yield hosts
    finally:
        for host in reversed(hosts):  # the first one is the claim
            # a process that is still ending keeps a namespace, and with it the cable
            for words in (("link", "del", host.cable), ("netns", "del", host.name)):
                subprocess.run(["ip", *words], capture_output=True, check=False)


def _claim() -> int:
    """A number that no other process uses, by making the first namespace of that number."""
    numbers = [(os.getpid() + offset) % NUMBERS for offset in range(NUMBERS)]
    for own in numbers:
        words = ["ip", "netns", "add", f"evolve{own}-0"]
        if subprocess.run(words, capture_output=True, check=False).returncode == 0:
            return own
    raise RuntimeError(f"all {NUMBERS} networks are in use, or none can be made; `ip netns list` shows them")
