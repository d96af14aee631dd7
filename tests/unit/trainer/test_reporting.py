"""Progress reports and failures."""

import logging
import threading
from pathlib import Path

import pytest
import torch
from support.progress import ProgressServer

from bertjob_api import termination
from bertjob_api.manifest import CorruptError
from bertjob_api.parse import InvalidSpecError
from bertjob_api.progress import Committed, Progress
from bertjob_api.termination import RETRY, USER_ERROR, Failure, Result
from bertjob_storage.protocol import AccessError, FullError, StorageError
from bertjob_tasks.errors import DataError, ModelFolderError, UnsupportedError
from bertjob_trainer import failures, reporting, results
from bertjob_trainer.checkpoint import FencedError
from bertjob_trainer.group import Alone, PeerLostError
from bertjob_trainer.loop import Step
from bertjob_trainer.meter import Meter
from bertjob_trainer.reporting import Reporter
from bertjob_trainer.signals import NonFiniteLossError


def a_meter(**fields: int | None) -> Meter:
    """Return a meter of a run of 20 steps in 2 epochs."""
    return Meter(group=Alone(), total=20, steps_per_epoch=10, resumed_from_step=fields.get("resumed_from_step"))


def test_reports_arrive_and_the_last_one_always() -> None:
    """Reports between two deliveries are replaced by newer ones; closing sends the newest."""
    with ProgressServer() as server:
        reporter = Reporter(reporting.post_to(server.url))
        meter = a_meter()
        for step in range(1, 21):
            reporter.report(
                meter.progress(
                    Step(step=step, loss=0.5, num_samples=8, num_tokens=80, lr=1e-5, seconds=0.1), committed=None
                )
            )
        reporter.close()

        assert server.reports[-1].step == 20
        assert len(server.reports) < 20


def test_unreachable_supervisor_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    """Training goes on when nobody takes its progress."""
    tries = threading.Semaphore(0)

    def refuse(_: Progress) -> None:
        tries.release()
        raise ConnectionRefusedError("nobody there")

    reporter = Reporter(refuse)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            reporter.report(a_meter().progress(None, committed=None))
            assert tries.acquire(timeout=30)
        reporter.close()

    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_progress_tells_rate_and_rest() -> None:
    """Samples per second and remaining time follow from the steps so far."""
    meter = a_meter(resumed_from_step=4)
    start = meter.progress(None, committed=None)
    committed = Committed(step=4, uri="file:///c", time=1.0)

    found = meter.progress(
        Step(step=5, loss=0.25, num_samples=8, num_tokens=80, lr=1e-5, seconds=2.0), committed=committed
    )

    assert (start.step, start.loss, start.eta_seconds, start.resumed_from_step) == (4, None, None, 4)
    assert (found.step, found.total, found.epoch, found.loss) == (5, 20, 0.5, 0.25)
    assert (found.samples_per_second, found.eta_seconds) == (4.0, 30)
    assert found.last_checkpoint == committed
    assert reporting.sentence(found) == "step 5/20, epoch 0.50, loss 0.2500, 4.0 samples/s, 1 processes, 30 s left"


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (NonFiniteLossError("x", step=7, rank=1), USER_ERROR, "NonFiniteLoss"),
        (InvalidSpecError(["x"]), USER_ERROR, "InvalidSpec"),
        (UnsupportedError("x"), USER_ERROR, "Unsupported"),
        (ModelFolderError("x"), USER_ERROR, "InvalidModel"),
        (DataError("x"), USER_ERROR, "InvalidData"),
        (CorruptError("x"), USER_ERROR, "CorruptModel"),
        (ValueError("x"), USER_ERROR, "InvalidInput"),
        (torch.OutOfMemoryError("x"), USER_ERROR, "OutOfMemory"),
        (AccessError("x"), RETRY, "StorageRefused"),
        (FullError("x"), USER_ERROR, "StorageFull"),
        (FencedError("x"), RETRY, "StorageUnavailable"),
        (StorageError("x"), RETRY, "StorageUnavailable"),
        (PeerLostError("x"), RETRY, "PeerLost"),
        (KeyError("x"), RETRY, "WorkerCrashed"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_every_error_has_a_code_and_a_reason(error: Exception, code: int, reason: str) -> None:
    """What a user must mend ends training; what may pass is tried again."""
    found, failure = failures.judge(error, rank=3)

    assert (found, failure.reason) == (code, reason)
    assert failure.rank == (1 if isinstance(error, NonFiniteLossError) else 3)


def test_message_is_one_line() -> None:
    """A message of several lines becomes one."""
    _, failure = failures.judge(ValueError("first\n  second"), rank=0)

    assert failure.message == "first second"


def test_first_failure_stays(tmp_path: Path) -> None:
    """The cause is kept, its consequences do not replace it; a result replaces both."""
    path = tmp_path / "result"
    first, second = (Result(failure=Failure(reason=reason, message="m")) for reason in ("Cause", "Consequence"))

    results.write_failure(path, first)
    results.write_failure(path, second)
    assert termination.decode(path.read_text()) == first

    results.write(path, Result(steps=3))
    assert termination.decode(path.read_text()) == Result(steps=3)


def test_half_written_failure_is_replaced(tmp_path: Path) -> None:
    """A worker that died while it wrote leaves no word for ever."""
    path = tmp_path / "result"
    path.write_text('{"fail')
    failure = Result(failure=Failure(reason="Cause", message="m"))

    results.write_failure(path, failure)

    assert termination.decode(path.read_text()) == failure
