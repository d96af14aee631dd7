"""The launcher's pure parts and its plumbing."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.jobs import a_job

from bertjob_api import names
from bertjob_api.spec import Elastic, Training
from bertjob_trainer.elastic import bound, machine, outcome, settings
from bertjob_trainer.elastic.budget import Budget, after_failure
from bertjob_trainer.elastic.outcome import Outcome
from bertjob_trainer.elastic.pump import Pump, Tail


@pytest.mark.parametrize(
    ("training", "nodes"),
    [
        (Training(replicas=3), (3, 3)),
        (Training(replicas=3, elastic=Elastic(min=2, max=8)), (2, 8)),
        (Training(replicas=0), (1, 1)),
    ],
)
def test_nodes(training: Training, nodes: tuple[int, int]) -> None:
    """Elastic bounds count; without them exactly the replicas."""
    assert settings.nodes(training) == nodes


@pytest.mark.parametrize(("wanted", "gpus", "processes"), [("auto", 0, 1), ("auto", 8, 8), ("2", 8, 2), ("2", 0, 2)])
def test_processes(wanted: str, gpus: int, processes: int) -> None:
    """Auto is one for each GPU, or one."""
    assert settings.processes(Training(processes_per_node=wanted), gpus=gpus) == processes


@pytest.mark.parametrize(
    ("own", "argv"),
    [
        (None, (sys.executable, "-m", "bertjob_trainer.worker")),
        (("train.py", "--lr", "1"), (sys.executable, "-m", "bertjob_trainer.own", "train.py", "--lr", "1")),
    ],
)
def test_worker_command(own: tuple[str, ...] | None, argv: tuple[str, ...]) -> None:
    """An own script runs below the program that hands it its folders."""
    assert settings.worker_command(own) == argv


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "job.json").write_text(json.dumps(a_job(training={"replicas": 2}, backoff={"limit": 7})))
    return {
        names.SPEC_FILE_ENV: str(tmp_path / "job.json"),
        names.RDZV_ENDPOINT_ENV: "10.0.0.5:29400",
        names.RDZV_ID_ENV: "uid-0",
        names.POD_IP_ENV: "10.1.0.7",
        names.RESULT_FILE_ENV: "/tmp/result.json",
    }


def test_settings_come_from_job_and_environment(env: dict[str, str]) -> None:
    """Every setting is where the operator put it."""
    read = settings.from_env(env, gpus=4)
    assert (read.store_host, read.store_port, read.run_id, read.address) == ("10.0.0.5", 29400, "uid-0", "10.1.0.7")
    assert (read.min_nodes, read.max_nodes, read.processes, read.failure_limit) == (2, 2, 4, 7)


@pytest.mark.parametrize("name", [names.RDZV_ENDPOINT_ENV, names.RDZV_ID_ENV, names.POD_IP_ENV, names.SPEC_FILE_ENV])
def test_missing_variable_is_named(env: dict[str, str], name: str) -> None:
    """A start without a variable says which."""
    del env[name]
    with pytest.raises(ValueError, match=f"{name}: is not set"):
        settings.from_env(env, gpus=0)


@pytest.mark.parametrize("endpoint", ["host", "host:", ":1", "host:x"])
def test_malformed_endpoint(env: dict[str, str], endpoint: str) -> None:
    """The rendezvous endpoint must have host and port."""
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        settings.from_env({**env, names.RDZV_ENDPOINT_ENV: endpoint}, gpus=0)


def test_failures_with_progress_cost_nothing() -> None:
    """However often workers fail, as long as each time new steps were done they start again at once."""
    budget = Budget(limit=3)
    for step in range(1, 200):
        budget, again = after_failure(budget, step=step, ran_s=1, killed=False)
        assert again
        assert budget.delay_s == 0


@pytest.mark.parametrize(("limit", "killed", "allowed"), [(5, False, 5), (0, False, 3), (5, True, 10), (20, True, 20)])
def test_failures_without_progress_are_counted(limit: int, killed: bool, allowed: int) -> None:
    """Without a new step the limit holds; kills from outside get more patience."""
    budget, again, count = Budget(limit=limit), True, -1
    while again:
        budget, again = after_failure(budget, step=7 if count < 0 else 5, ran_s=1, killed=killed)
        count += 1
    assert count == allowed


@given(steps=st.lists(st.none() | st.integers(0, 5), max_size=50))
def test_delays_grow_and_stay_bounded(steps: list[int | None]) -> None:
    """No delay is above half a minute, and the best step never falls."""
    budget = Budget(limit=3)
    for step in steps:
        before = budget.best_step
        budget, _ = after_failure(budget, step=step, ran_s=1, killed=False)
        assert 0 <= budget.delay_s <= 30
        assert before is None or (budget.best_step is not None and budget.best_step >= before)


def test_long_runs_of_silent_scripts_count_as_progress() -> None:
    """Where no steps are reported, a long run resets the count."""
    budget, _ = after_failure(Budget(limit=3, failures=3), step=None, ran_s=301, killed=False)
    assert budget.failures == 1


@pytest.mark.parametrize(("text", "quota"), [("max 100000\n", None), ("150000 100000\n", 1.5), ("", None)])
def test_cpu_quota(text: str, quota: float | None) -> None:
    """The cgroup's quota is read as processors."""
    assert machine.quota_of(text) == quota


def test_threads_are_shared() -> None:
    """Workers share the processors, and each has one at least."""
    assert [machine.threads(cores, processes=4) for cores in (16, 5, 2)] == [4, 1, 1]


def test_interface_of_loopback() -> None:
    """Every 127 address is on lo; an address that nobody has is on none."""
    assert machine.interface_of("127.9.8.7") == "lo"
    assert machine.interface_of("192.0.2.1") is None


def test_outcome_round_trip() -> None:
    """An outcome comes back from the store as it was."""
    given_ = Outcome(code=42, message='{"a":"\u00e4"}')
    assert Outcome.from_json(given_.to_json()) == given_


@pytest.mark.parametrize(
    ("code", "phrase"),
    [
        (1, "ended with exit code 1"),
        (-9, "was killed by SIGKILL; if"),
        (-15, "was killed by SIGTERM"),
        (-99, "signal 99"),
    ],
)
def test_how_it_ended(code: int, phrase: str) -> None:
    """Exit codes and signals are put in words; SIGKILL hints at memory."""
    assert phrase in outcome.how_it_ended(code)


def pumped(*parts: bytes, prefix: str = "", tail: Tail | None = None) -> bytes:
    read, write = os.pipe()
    sink = io.BytesIO()
    pump = Pump(read, sink, prefix=prefix, tail=tail)
    pump.start()
    for part in parts:
        os.write(write, part)
    pump.finish()
    os.close(write)
    return sink.getvalue()


def test_lines_get_their_prefix() -> None:
    """Each line is prefixed once, wherever the pieces were cut; the last one needs no end."""
    assert pumped(b"one\ntw", b"o\n\nthree", prefix="[rank 3] ") == (
        b"[rank 3] one\n[rank 3] two\n[rank 3] \n[rank 3] three\n"
    )


def test_tail_keeps_the_last_lines() -> None:
    """The last lines are kept without prefix; bytes that are no text do no harm."""
    tail = Tail(lines=2)
    pumped(b"one\ntwo\n\xff\n", prefix="x", tail=tail)
    assert tail.text() == "two\n\ufffd"


def test_endless_line_is_broken() -> None:
    """A program that never ends a line does not fill the memory."""
    assert pumped(*[b"x" * 40000] * 5).count(b"\n") >= 2


def test_bound_process_dies_with_its_parent() -> None:
    """Killing the parent kills the command, although it has a session of its own."""
    child = [sys.executable, "-I", "-S", bound.__file__, "/bin/sleep", "1000"]
    code = f"import subprocess, time; print(subprocess.Popen({child!r}, start_new_session=True).pid, flush=True); time.sleep(9e9)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        while "sleep" not in Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]:
            pass
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        while Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
            pass


def test_worker_environment_of_two_processes() -> None:
    """Workers share the processors, use the interface of the pod's address, and never a dead node's store."""
    from bertjob_trainer import launcher  # noqa: PLC0415  # torch takes seconds

    config = settings.Settings(
        store_host="s",
        store_port=1,
        run_id="r",
        address="127.1.2.3",
        min_nodes=1,
        max_nodes=1,
        processes=2,
        command=("x",),
        failure_limit=3,
        result_file=Path("/tmp/x"),
        keeps_spare=False,
        progress_url=None,
    )
    env = launcher.worker_env(config, cores=8)
    assert env == {
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        "OMP_NUM_THREADS": "4",
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
    }
