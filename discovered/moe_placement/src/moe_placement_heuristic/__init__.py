"""Placement of mixture-of-experts weights: a heuristic with its proof.

Net balance 0.64212 of 1 on average over 144 instances that the search never saw. Normalised score
0.44293, 95% interval 0.37775 to 0.50602; 0 is the program 'in_order', 1 is the bound that no answer
can beat.
"""

from .heuristic import place

__all__ = ["place"]
__version__ = "0.1.0"
