"""
What is to be done about a BertJob: pure decisions, no IO, no clock.

``plan(Observed) -> Plan`` is the whole of it. ``rules`` reads as the specification of a job's way.
"""

from bertjob_operator.plan.decide import plan, refuse_child, refuse_spec
from bertjob_operator.plan.effects import Count, Delete, Event, Plan, Replace
from bertjob_operator.plan.observed import Observed
from bertjob_operator.plan.platform import Platform

__all__ = ["Count", "Delete", "Event", "Observed", "Plan", "Platform", "Replace", "plan", "refuse_child", "refuse_spec"]
