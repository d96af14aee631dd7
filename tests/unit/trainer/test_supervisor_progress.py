"""What the workers of a pod report, merged."""

import math

import pytest

from bertjob_api.progress import Committed, Progress, Worker
from bertjob_trainer.supervisor_progress import Board, as_metrics, from_kubeflow, merge


def report(rank: int, *, pid: int, step: int = 5, updated: float = 1.0, **fields: object) -> Progress:
    return Progress(
        rank=rank,
        world_size=4,
        step=step,
        samples_per_second=9.0,
        workers=(Worker(rank=rank, pid=pid),),
        updated=updated,
        **fields,  # type: ignore[arg-type]
    )


def all_alive(_pid: int) -> bool:
    return True


def test_nothing_reported() -> None:
    """Before the first report only the restarts are known."""
    assert merge((), alive=all_alive, restarts=2) == Progress(restarts=2)


def test_lowest_rank_speaks_for_the_pod() -> None:
    """Figures are those of the lowest rank; the workers of all are listed by rank."""
    merged = merge([report(3, pid=30, step=4, updated=2.0), report(2, pid=20, loss=0.5)], alive=all_alive)
    assert (merged.rank, merged.step, merged.loss, merged.updated) == (2, 5, 0.5, 2.0)
    assert merged.workers == (Worker(rank=2, pid=20), Worker(rank=3, pid=30))


def test_dead_workers_are_not_listed() -> None:
    """A worker that is gone is not listed and does not speak."""
    merged = merge([report(0, pid=10, step=9), report(1, pid=20)], alive=lambda pid: pid == 20)
    assert (merged.rank, merged.step, merged.workers) == (1, 5, (Worker(rank=1, pid=20),))


def test_without_workers_figures_stay() -> None:
    """While workers start again the newest figures stay; what describes running processes is unset."""
    saved = Committed(step=4, uri="s3://b/x", time=1.0)
    merged = merge([report(0, pid=10, last_checkpoint=saved)], alive=lambda _pid: False)
    assert (merged.step, merged.last_checkpoint) == (5, saved)
    assert (merged.rank, merged.world_size, merged.samples_per_second, merged.workers) == (None, None, None, ())


def test_restarts_of_launcher_and_workers_add_up() -> None:
    """Both kinds of restarts are failures of the pod's own; what workers say themselves is not added again."""
    board = Board(alive=all_alive)
    board.launches, board.worker_failures = 3, 4
    board.post(report(0, pid=10, restarts=2), now=1.0)
    assert board.read().restarts == 6


def test_board_forgets_the_dead() -> None:
    """Reports of earlier workers are dropped once new ones report; the board's clock marks each report."""
    living = {10}
    board = Board(alive=living.__contains__)
    board.post(report(0, pid=10, step=7), now=100.0)
    living.clear()
    assert (board.read().step, board.read().rank) == (7, None)
    living.add(11)
    board.post(report(0, pid=11, step=3), now=101.0)
    assert (board.read().step, board.read().rank, board.read().updated) == (3, 0, 101.0)
    board.post(report(0, pid=11, step=4), now=102.0)
    assert len(board._reports) == 1


def test_kubeflow_status_is_understood() -> None:
    """The callback of transformers.Trainer becomes progress of rank 0."""
    metrics = {
        "current_step": "5",
        "total_steps": "20",
        "current_epoch": "0.25",
        "loss": "0.7",
        "learning_rate": "1e-5",
    }
    status = {
        "estimatedRemainingSeconds": 30,
        "metrics": [{"name": name, "value": value} for name, value in metrics.items()],
    }
    read = from_kubeflow({"trainerStatus": status})
    assert read == Progress(rank=0, step=5, total=20, epoch=0.25, loss=0.7, eta_seconds=30)


def test_kubeflow_status_may_be_partial() -> None:
    """What is missing or not finite is unknown, not an error; what is no status is refused."""
    assert from_kubeflow({"trainerStatus": {"metrics": [{"name": "loss", "value": "nan"}]}}) == Progress(rank=0)
    with pytest.raises(ValueError, match="expected an object with it"):
        from_kubeflow({})


def test_metrics_text() -> None:
    """Known figures are gauges; unknown ones are left out."""
    text = as_metrics(Progress(step=5, loss=0.5))
    assert "bertjob_training_step 5\n" in text
    assert "# TYPE bertjob_training_loss gauge\n" in text
    assert "epoch" not in text
    assert not any(math.isnan(float(line.split()[1])) for line in text.splitlines() if not line.startswith("#"))
