"""evolve discovers algorithms: proposers write programs, a jail runs them, a trusted evaluator scores them."""

__version__ = "0.1.0"
