"""Metrics as files: for programs, for TensorBoard, and never a step twice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bertjob_storage import files
from bertjob_storage.opening import open_storage
from bertjob_storage.protocol import StorageError
from bertjob_trainer import chronicle, events
from bertjob_trainer.chronicle import Chronicle
from bertjob_trainer.course import Course

READ = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
found = EventAccumulator(sys.argv[1]).Reload()
print(json.dumps({tag: [[e.wall_time, e.step, e.value] for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}))
"""


def a_course(steps: int) -> Course:
    """Return a start, so many steps, and an evaluation."""
    course = Course()
    course.started(0, now=1000.0, values={"processes": 2})
    for step in range(1, steps + 1):
        course.stepped(step, total=steps, now=1000.5 + step, values={"loss": 1 / step, "learningRate": 2e-5})
    course.evaluated(steps, now=2000.0, values={"accuracy": 0.75})
    return course


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    """Every figure comes back under its tag with step and time; TensorBoard checks the checksums."""
    (tmp_path / events.NAME).write_bytes(events.encode(a_course(300).records))

    done = subprocess.run([sys.executable, "-c", READ, str(tmp_path)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert sorted(found) == ["evaluation/accuracy", "run/processes", "train/learningRate", "train/loss"]
    assert found["evaluation/accuracy"] == [[2000.0, 300, 0.75]]
    assert [step for _, step, _ in found["train/loss"]] == list(range(1, 301))
    assert [value for _, _, value in found["train/loss"]] == pytest.approx([1 / step for step in range(1, 301)])


def test_checksum_is_the_published_one() -> None:
    """CRC-32C of 32 zero bytes and of 123456789. Source: RFC 3720, appendix B.4, and the CRC catalogue."""
    assert (events.crc32c(bytes(32)), events.crc32c(b"123456789")) == (0x8A9136AA, 0xE3069283)


def test_resumed_run_shows_each_step_once(tmp_path: Path) -> None:
    """A run that went on from an older step replaces what was written after it."""
    uri = f"file://{tmp_path}/run"
    Chronicle(open_storage(uri), uri, local=tmp_path / "first").close(a_course(9))
    resumed = a_course(5)
    resumed.started(5, now=3000.0, values={"processes": 1})
    resumed.stepped(6, total=9, now=3001.0, values={"loss": 0.5})
    Chronicle(open_storage(uri), uri, local=tmp_path / "local").close(resumed)

    lines = [json.loads(line) for line in (tmp_path / "run" / chronicle.METRICS).read_text().splitlines()]

    assert [line["step"] for line in lines if line["kind"] == "step"] == [1, 2, 3, 4, 5, 6]
    assert lines[-1] == {"kind": "step", "step": 6, "time": 3001.0, "loss": 0.5}
    for name in (chronicle.METRICS, events.NAME):
        assert (tmp_path / "local" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


def test_writes_are_far_between(tmp_path: Path) -> None:
    """Noting every step writes at most once in an interval, and nothing before the first has passed."""
    now = [0.0]
    uri = f"file://{tmp_path}/run"
    writer = Chronicle(open_storage(uri), uri, local=tmp_path / "local", clock=lambda: now[0])

    for step in range(1, 100):
        now[0] = step * chronicle.INTERVAL_S / 100
        writer.note(a_course(step))
    assert not (tmp_path / "run").exists()

    writer.close(a_course(3))
    assert (tmp_path / "run" / chronicle.METRICS).exists()


class Refusing:
    """Storage that takes nothing."""

    def put(self, uri: str, data: bytes, **_: object) -> str:
        """Refuse."""
        raise StorageError(f"{uri}: no answer for {len(data)} bytes")


def test_storage_that_refuses_does_not_stop_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One warning is all that comes of it, and the files on this machine are written."""
    writer = Chronicle(Refusing(), "s3://b/run", local=tmp_path)  # type: ignore[arg-type]  # only put is asked for

    writer.close(a_course(3))

    size = len((tmp_path / chronicle.METRICS).read_bytes())
    (said,) = [record.message for record in caplog.records]
    assert f"metrics.jsonl cannot be written (s3://b/run/metrics.jsonl: no answer for {size} bytes)" in said
    assert not list(tmp_path.glob(f"{files.HIDDEN}*"))
