"""Exceptions to exit codes and failures: one table."""

import logging
from pathlib import Path
from typing import Final

import torch

from bertjob_api.manifest import CorruptError
from bertjob_api.parse import InvalidSpecError
from bertjob_api.termination import RETRY, USER_ERROR, Failure, Result
from bertjob_storage.protocol import AccessError, FullError, StorageError
from bertjob_tasks.errors import DataError, ModelFolderError, UnsupportedError
from bertjob_trainer import results
from bertjob_trainer.group import PeerLostError
from bertjob_trainer.signals import NonFiniteLossError

_log = logging.getLogger(__name__)

_TABLE: Final[tuple[tuple[type[BaseException], int, str], ...]] = (
    # The first row whose type fits counts, so the special ones stand before their bases.
    (NonFiniteLossError, USER_ERROR, "NonFiniteLoss"),
    (InvalidSpecError, USER_ERROR, "InvalidSpec"),
    (UnsupportedError, USER_ERROR, "Unsupported"),
    (ModelFolderError, USER_ERROR, "InvalidModel"),
    (DataError, USER_ERROR, "InvalidData"),
    (CorruptError, USER_ERROR, "CorruptModel"),
    (ValueError, USER_ERROR, "InvalidInput"),
    (torch.OutOfMemoryError, USER_ERROR, "OutOfMemory"),
    (AccessError, RETRY, "StorageRefused"),
    (FullError, USER_ERROR, "StorageFull"),  # nothing more can be saved: training on would only lose more
    (StorageError, RETRY, "StorageUnavailable"),
    (PeerLostError, RETRY, "PeerLost"),
)


def judge(error: BaseException, *, rank: int | None) -> tuple[int, Failure]:
    """Return the exit code and the failure of an exception; what nobody foresaw is tried again and named as a bug."""
    for kind, code, reason in _TABLE:
        if isinstance(error, kind):
            return code, _failure(error, reason, rank)
    return RETRY, _failure(error, "WorkerCrashed", rank)


def told(error: BaseException, *, rank: int, result_file: Path | None) -> int:
    """Log what ended a worker, leave it in its result file (None: nobody reads it), and return the exit code."""
    code, failure = judge(error, rank=rank)
    is_bug = failure.reason == "WorkerCrashed"
    _log.error("%s: %s", failure.reason, failure.message, exc_info=error if is_bug else None)
    if result_file is not None:
        results.write_failure(result_file, Result(failure=failure))
    return code


def _failure(error: BaseException, reason: str, rank: int | None) -> Failure:
    text = " ".join(str(error).split())
    if reason == "OutOfMemory":
        text = f"the accelerator's memory is full ({text}); lower spec.training.microBatchSize or spec.data.maxSequenceLength"
    if reason == "WorkerCrashed":
        text = f"{type(error).__name__}: {text}; this is a bug, the traceback stands in the log"
    if isinstance(error, NonFiniteLossError):
        return Failure(
            reason=reason, message=text, rank=error.rank if error.rank is not None else rank, step=error.step
        )
    return Failure(reason=reason, message=text, rank=rank)
