"""evolve discovers algorithms: a proposer writes programs, a jail runs them, a trusted side scores them."""

__version__ = "0.1.0"
