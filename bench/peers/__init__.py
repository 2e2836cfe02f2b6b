"""evolve beside other program-evolution systems: the same model server, problem, evaluation and budget for each.

    python -m bench.peers install                      each system from the package index, in its own environment
    python -m bench.peers all [--calls 100] [--repeats 1]
    python -m bench.peers search | latency | faults | kill | report

A driver in drivers/ runs inside a system's environment; everything else runs in evolve's. No code of another
system is in this repository, and none is a dependency of it.
"""
