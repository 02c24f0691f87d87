"""Plan for one SomaBrain: small pure steps over the observed state.

The first step that halts gives the reason in a sentence; the children that the steps before it added are still applied.
"""

from somabrain_operator.plan.plan import ConditionResult, Plan
from somabrain_operator.plan.steps import STEPS, make_plan

__all__ = ["STEPS", "ConditionResult", "Plan", "make_plan"]
