"""Condition types and reasons; each reason is documented by the sentence beside it."""

from typing import Final

ACCEPTED: Final = "Accepted"
SUSPENDED: Final = "Suspended"
SCHEDULED: Final = "Scheduled"
TRAINING: Final = "Training"
STALLED: Final = "Stalled"
TRAINED: Final = "Trained"
OPTIMIZED: Final = "Optimized"
GATE_PASSED: Final = "GatePassed"
ROLLED_OUT: Final = "RolledOut"
SUCCEEDED: Final = "Succeeded"
FAILED: Final = "Failed"
FINISHED: Final = "Finished"
"""True with either of the two before it, as of a Workload of Kueue: what waits for an end, whichever, waits for this."""

TYPES: Final = (
    ACCEPTED,
    SUSPENDED,
    SCHEDULED,
    TRAINING,
    STALLED,
    TRAINED,
    OPTIMIZED,
    GATE_PASSED,
    ROLLED_OUT,
    SUCCEEDED,
    FAILED,
    FINISHED,
)
"""In the order in which status shows them. All are set, to Unknown at first (Source: Kubernetes API conventions)."""
