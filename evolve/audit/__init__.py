"""`evolve audit`: attacks a problem's evaluator with cheating programs made from its contract.

suite.py plays them; answers.py, corruptions.py and behaviours.py hold what they try; honest.py says what an
honest decision looks like; hostile.py asks the evaluator directly; contract.py checks what a problem promises.
"""

from evolve.audit.report import Report, Row, print_report
from evolve.audit.suite import audit, steps

__all__ = ["Report", "Row", "audit", "print_report", "steps"]
