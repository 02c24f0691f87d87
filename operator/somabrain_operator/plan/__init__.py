"""What is to be done for one SomaBrain: a tuple of small pure steps over what was observed.

The first step that does not pass says why, in words; what the steps before it asked for is still done.
"""

from somabrain_operator.plan.plan import ConditionResult, Plan
from somabrain_operator.plan.steps import STEPS, make_plan

__all__ = ["STEPS", "ConditionResult", "Plan", "make_plan"]
