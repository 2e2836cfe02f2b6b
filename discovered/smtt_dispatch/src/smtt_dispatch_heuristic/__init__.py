"""Dispatching for single-machine total tardiness: a heuristic with its proof.

Floor gap 1.0678 % on average over 525 instances that the search never saw. Normalised score
0.97781, 95% interval 0.97112 to 0.98266; 0 is the program 'edd', 1 is the bound that no answer can
beat.
"""

from .heuristic import priority

__all__ = ["priority"]
__version__ = "0.1.0"
