"""A Dask cluster on this machine, in a process of its own: `python -m evolve.backends.local_dask WORKERS GPUS`.

It writes its address and lives until its standard input ends, which the kernel sees to however its parent dies. It
is started with an environment without keys, so that no worker ever has one, and listens on loopback alone.
"""

from __future__ import annotations

import sys


def main(workers: int, gpus: int) -> None:
    """Serve until standard input ends.

    Args:
        gpus: shared out as the resource GPU, one to a worker; 0 = none.
    """
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        memory_limit=0,  # candidates have their own limits; a worker that is paused would stop the search
        silence_logs=50,
        resources={"GPU": 1} if gpus else None,
    ) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
