"""What is to be done for one SomaBrain: a tuple of small pure steps over what was observed.

The first step that does not pass says why, in words; what the steps before it asked for is still done.
"""

from somabrain_operator.plan.steps import STEPS, make_plan
from somabrain_operator.plan.values import Finding, Plan

__all__ = ["STEPS", "Finding", "Plan", "make_plan"]
