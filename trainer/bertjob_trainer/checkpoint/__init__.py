"""
Training state in object storage: committed by a manifest, proven by digests, fenced by attempts.

Errors::

    StorageError           asks for a retry
    +- FencedError         a newer attempt has taken over; this one must end
    CorruptError           a checkpoint is not what its manifest says
"""

from bertjob_trainer.checkpoint.checkpoints import Checkpoints
from bertjob_trainer.checkpoint.layout import FencedError

__all__ = ["Checkpoints", "FencedError"]
