"""The ledger of samples: what it proves, and what it does not let pass."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.learning import Saved, a_dataset, a_state, an_order, io_of

from bertjob_api.progress import Committed
from bertjob_cli import main
from bertjob_storage.local import LocalStorage
from bertjob_trainer import ledger, ledger_files, loop, optim, order
from bertjob_trainer.cadence import parse
from bertjob_trainer.ledger import BrokenError, Ledger

SAMPLES = [np.array([5, 3], dtype=np.int64), np.array([9, 70_000], dtype=np.int64)]


def a_ledger(steps: int, *, start: Ledger | None = None, world: int = 2, shift: int = 0) -> Ledger:
    """Return a ledger of steps that *world* processes computed, after *start*."""
    found = Ledger(start.head) if start is not None else Ledger()
    first = start.entries[-1].step + 1 if start is not None else 1
    for step in range(first, first + steps):
        batches = [batch + step + shift for batch in SAMPLES]
        shares = [order.dealt(len(batches), rank=rank, world=world) for rank in range(world)]
        tallies = [ledger.tally([batches[index] for index in share], step=step) for share in shares]
        sums = [sum(parts) for parts in zip(*tallies, strict=True)]
        found.add(np.concatenate(batches), sums, step=step, world=world)
    return found


def test_processes_tallies_add_up() -> None:
    """However many processes share a step, its entry is the same, proven, and gives the samples back in order."""
    alone, many = a_ledger(3, world=1), a_ledger(3, world=7)
    assert [entry.digest for entry in alone.entries] == [entry.digest for entry in many.entries]
    assert all(entry.is_proven for entry in many.entries)
    assert many.entries[0].ids == (6, 4, 10, 70_001)


@pytest.mark.parametrize("fed", [[SAMPLES[0]], [*SAMPLES, SAMPLES[1]], [SAMPLES[0], SAMPLES[1][::-1] + 1]])
def test_samples_left_out_or_computed_twice_show(fed: list[np.ndarray]) -> None:
    """A step whose processes computed other samples than were planned is not proven."""
    found = Ledger()
    found.add(np.concatenate(SAMPLES), ledger.tally(fed, step=1), step=1, world=1)
    assert not found.entries[0].is_proven


def test_lost_steps_are_left_out() -> None:
    """Steps that were written and then lost with their processes are no part of what leads to the head."""
    kept = a_ledger(4)
    lost, again = a_ledger(3, start=kept, shift=100), a_ledger(6, start=kept, world=1)
    assert ledger.lineage([kept, lost, again], head=again.head) == (*kept.entries, *again.entries)


def test_changed_or_missing_entries_are_found() -> None:
    """A ledger with a step missing or changed proves nothing, and says where."""
    whole = a_ledger(4)
    gap = Ledger(whole.head, [entry for entry in whole.entries if entry.step != 2])
    changed = Ledger(
        whole.head, [replace(entry, samples="AAAA") if entry.step == 2 else entry for entry in whole.entries]
    )
    for broken in (gap, changed):
        with pytest.raises(BrokenError, match="before step 3"):
            ledger.lineage([broken], head=whole.head)


def test_differences_are_named() -> None:
    """Other samples, another length and other computations are told apart; other numbers of processes are no difference."""
    one = a_ledger(3).entries
    assert ledger.difference(one, a_ledger(3, world=1).entries) is None
    assert "step 1: the samples differ from place 0" in str(ledger.difference(one, a_ledger(3, shift=1).entries))
    assert "one has 3 steps, the other 2" in str(ledger.difference(one, one[:2]))
    assert "step 2" in str(ledger.difference(one, [one[0], replace(one[1], tally="0" * 18)]))


def test_training_writes_what_it_did() -> None:
    """The records that go with the checkpoints lead back to the first step, and a resumed run carries the chain on."""
    data = a_dataset()
    plan = an_order(data, epochs=2)
    schedule = optim.Schedule(peak=1e-3, total_steps=plan.total_steps, warmup_ratio=0.2)
    config = loop.TrainConfig(order=plan, schedule=schedule, seed=3, dtype=torch.float32)
    saved, state = Saved(), a_state(dropout=0.0)
    loop.train(config, state, data, io_of(saves=saved, cadence=parse("4 steps")))
    again, (_, tensors, meta) = a_state(dropout=0.0), saved.states[0]
    again.restore(tensors, meta)
    loop.train(config, again, data, io_of())

    pieces = [
        ledger.decode(content) for files in saved.records for name, content in files.items() if name != ledger.HEAD
    ]
    unbroken = ledger.lineage([*pieces, state.ledger], head=state.ledger.head)
    resumed = ledger.lineage([*pieces, again.ledger], head=again.ledger.head)
    assert [entry.ids for entry in unbroken] == [
        tuple(np.concatenate(plan.micro_batches(step)).tolist()) for step in range(plan.total_steps)
    ]
    assert ledger.difference(unbroken, resumed) is None
    assert all(entry.is_proven for entry in unbroken)


@pytest.mark.parametrize("reaches_storage", [False, True])
def test_memory_holds_what_is_not_in_storage(reaches_storage: bool) -> None:
    """While no upload succeeds, the next save tells every step from the first; once one does, what led to it is forgotten."""
    data = a_dataset()
    plan = an_order(data, epochs=2)
    schedule = optim.Schedule(peak=1e-3, total_steps=plan.total_steps, warmup_ratio=0.2)
    config = loop.TrainConfig(order=plan, schedule=schedule, seed=3, dtype=torch.float32)
    saved, state = Saved(), a_state(dropout=0.0)

    def stored(step: loop.Step) -> None:
        if reaches_storage and step.step % 2 == 0:
            saved.committed = Committed(step=step.step, uri="", time=0.0)

    loop.train(config, state, data, io_of(saves=saved, cadence=parse("2 steps"), report=stored))

    newest = saved.records[-1]
    (piece,) = (ledger.decode(content) for name, content in newest.items() if name != ledger.HEAD)
    last = plan.total_steps - 2
    assert [entry.step for entry in piece.entries] == list(range(last - 1 if reaches_storage else 1, last + 1))
    kept = [entry.step for entry in state.ledger.entries]
    assert kept == list(range(last + 1 if reaches_storage else 1, plan.total_steps + 1))


def written(folder: Path, pieces: list[Ledger]) -> str:
    """Write ledgers as a run of a job and return the job's folder."""
    storage, run = LocalStorage(), f"file://{folder}/job/run-1"
    for piece in pieces:
        ledger_files.write(storage, run, ledger.records(piece, since=0))
    return str(folder / "job")


def test_command_tells_equal_from_different(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``ledger diff`` ends 0 and says equal, or 1 and names the step; ``show`` prints every step and how many computed it."""
    start = a_ledger(2)
    one = written(tmp_path / "one", [start, a_ledger(2, start=start, world=1)])
    two = written(tmp_path / "two", [a_ledger(4, world=3)])
    other = written(tmp_path / "other", [start, a_ledger(2, start=start, shift=5)])

    assert main.main(["ledger", "diff", one, two]) == 0
    assert "equal" in capsys.readouterr().out
    assert main.main(["ledger", "diff", one, other]) == 1
    assert "step 3" in capsys.readouterr().out
    assert main.main(["ledger", "show", one]) == 0
    shown = capsys.readouterr().out
    assert "step 4  1 processes" in shown
    assert "4 steps, 16 samples, each computed once; processes 2 -> 1" in shown


def test_command_refuses_a_damaged_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A lost or changed file, or no ledger at all, is one line and exit code 2."""
    job = written(tmp_path, [a_ledger(2)])
    (piece,) = (tmp_path / "job" / "run-1" / "ledger").glob("steps-*")
    piece.write_text(piece.read_text().replace('"step":1', '"step":7'))
    assert main.main(["ledger", "show", job]) == 2
    assert "is missing or was changed" in capsys.readouterr().err
    assert main.main(["ledger", "show", str(tmp_path / "job" / "none")]) == 2
    assert "expected one run with a ledger" in capsys.readouterr().err
