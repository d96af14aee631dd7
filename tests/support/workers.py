"""Real training workers for tests: processes as torchrun would start them, on a toy job."""

import json
import os
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.jobs import Object, a_job
from support.models import a_model_folder

from bertjob_api import names, termination
from bertjob_api.job import parse_job, resolved
from bertjob_api.termination import Result

ROOT = Path(__file__).resolve().parents[2]


def toy_rows(count: int, *, seed: int) -> list[dict[str, str]]:
    """Return examples whose label is told by one word, good or bad, among others."""
    rng = random.Random(seed)  # noqa: S311
    rows = []
    for _ in range(count):
        label = rng.choice(("good", "bad"))
        words = [rng.choice(("the", "cat", "sat", "dog", "ran", "very")) for _ in range(rng.randint(1, 9))]
        words.insert(rng.randrange(len(words) + 1), label)
        rows.append({"text": " ".join(words), "label": label})
    return rows


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """Write examples as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def a_toy_job(folder: Path, **training: Any) -> Object:
    """Return a job on local files below *folder*, made on the spot: 60 + 20 examples, a tiny model, 8 epochs of 8 steps."""
    model = folder / "source"
    if not model.is_dir():
        model.mkdir(parents=True)
        a_model_folder(model)
        write_rows(folder / "train.jsonl", toy_rows(60, seed=1))
        write_rows(folder / "validation.jsonl", toy_rows(20, seed=2))
    settings = {"epochs": 8, "batchSize": 8, "microBatchSize": 2, "learningRate": 1e-2, "precision": "fp32", **training}
    return a_job(
        model={"source": f"file://{model}"},
        data={
            "train": f"file://{folder}/train.jsonl",
            "validation": f"file://{folder}/validation.jsonl",
            "maxSequenceLength": 16,
        },
        training=settings,
        storage={"prefix": f"file://{folder}/storage"},
    )


def environment(folder: Path, job: Object, *, rank: int = 0, world: int = 1, **extra: str) -> dict[str, str]:
    """Return the environment of one worker; the result goes to ``result-RANK.json`` below *folder*."""
    spec = folder / "job.json"
    spec.write_text(json.dumps(resolved(parse_job(job, local=True))))
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("operator", "trainer", "tests")),
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        names.SPEC_FILE_ENV: str(spec),
        names.RESULT_FILE_ENV: str(folder / f"result-{rank}.json"),
        **extra,
    }


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port


def start(env: dict[str, str]) -> "subprocess.Popen[str]":
    """Start a worker."""
    argv = [sys.executable, "-m", "bertjob_trainer.worker"]
    return subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, text=True)


def run(folder: Path, job: Object, *, world: int = 1, **extra: str) -> list[tuple[int, str]]:
    """Run *world* workers to their end and return exit code and log of each."""
    port = str(free_port())
    workers = [
        start(environment(folder, job, rank=rank, world=world, MASTER_PORT=port, **extra)) for rank in range(world)
    ]
    try:
        logs = [worker.communicate(timeout=240)[1] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return [(worker.returncode, log) for worker, log in zip(workers, logs, strict=True)]


def result_of(folder: Path, rank: int = 0) -> Result:
    """Return the result that a worker left."""
    result = termination.decode((folder / f"result-{rank}.json").read_text())
    assert result is not None
    return result
