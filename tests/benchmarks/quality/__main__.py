"""
What INT8 costs in accuracy, on models that learnt from real data. ``make bench-quality``.

The models are those that ``make bench-tasks`` trains, and are trained here where there are none yet. Each then goes through the
optimize step that jobs run, with every method. Finished models, candidates and runs are kept, so that the benchmark can be done in
pieces. Speed and size are those of this small model; those of BERT-base are measured by ``make bench-int8``.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.int8 import pieces as speed
from benchmarks.quality import pieces, tables
from benchmarks.quality.pieces import Piece
from benchmarks.tasks import ours, setting
from benchmarks.tasks.works import WORKS, Prepared, Work
from support.benching import OUT, write

from bertjob_api import layout
from bertjob_api.digest import sha256_of, short
from bertjob_api.job import BertJob, parse_job
from bertjob_api.manifest import MANIFEST, ModelManifest
from bertjob_api.parse import dump
from bertjob_serving import cpu
from bertjob_serving.optimize.run import Inputs, OptimizeError, optimize
from bertjob_storage import folders, open_storage
from bertjob_storage.protocol import StorageError
from bertjob_tasks.errors import DataError
from bertjob_trainer.machine import Machine

DATA_ENV: Final = "BERTJOB_DATA"
KEPT: Final = OUT / "quality"
METHODS: Final = ("dynamic", "static", "qat", "pruning")
TIMING_S: Final = 6.0
"""Seconds of timing for each candidate: enough for a first figure."""
LEARNING: Final[Mapping[str, Mapping[str, Any]]] = {
    "sst2": {"examples": 2000, "epochs": 3},
    "sts-b": {"examples": 2000, "epochs": 3},
    "wnut17": {"examples": 2000, "epochs": 3},
    "xquad-en": {"examples": 300, "epochs": 3},
}
"""``spec.optimize.fineTune`` of each task: as many texts as an hour for all of them has room for; those of xquad-en are long."""


def main() -> int:
    """Run what is asked for, print the tables of all that is kept, and write it as JSON."""
    given = _parser().parse_args()
    if (root := os.environ.get(DATA_ENV)) is None:
        sys.stdout.write(f"skipped: {DATA_ENV} is not set, expected the folder with the data sets; set it\n")
        return 0
    try:
        found = _found(given, Path(root), setting.machine("auto"))
    except (DataError, StorageError, OptimizeError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if not found:
        sys.stdout.write("no task has a seed that is finished: nothing to tell\n")
        return 0
    sys.stdout.write(f"{tables.every(found)}\n{tables.means(found)}\n")
    about = {"cpu": cpu.model(), "int8": cpu.int8_feature(cpu.features()), "threads": cpu.available()}
    sys.stdout.write(f"{write('quality', tables.rows(found), machine=about)}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench-quality", description="Measure what INT8 costs on real data.")
    parser.add_argument("--tasks", nargs="+", choices=LEARNING, default=list(LEARNING), help="which; all unless given")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="which seeds, as in 1 2 3")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="which; all unless given")
    parser.add_argument(
        "--vocabulary", choices=("All", "Language"), default="Language", help="whose embeddings INT8 keeps"
    )
    parser.add_argument("--rows", type=int, help="train on so many rows at most, to try the benchmark")
    todo = parser.add_mutually_exclusive_group()
    todo.add_argument("--again", action="store_true", help="optimize what is kept once more")
    todo.add_argument("--gather", action="store_true", help="run nothing, tell what is kept")
    return parser


def _found(given: argparse.Namespace, root: Path, machine: Machine) -> list[Piece]:
    """Return the pieces of the tasks and seeds that are asked for, after making what is missing."""
    found: list[Piece] = []
    for name in given.tasks:
        work = WORKS[name].capped(given.rows)
        try:
            prepared = setting.prepared(name, work, root, machine)
        except FileNotFoundError as error:
            sys.stdout.write(f"{name}: skipped, {error.filename} does not exist; expected it below {DATA_ENV}\n")
            continue
        for seed in sorted(set(given.seeds)):
            if given.again:
                shutil.rmtree(_store(prepared, seed), ignore_errors=True)
            piece = _piece(prepared, work, seed, machine, given)
            found += [piece] if piece is not None else []
    return found


def _piece(prepared: Prepared, work: Work, seed: int, machine: Machine, given: argparse.Namespace) -> Piece | None:
    """Return what is kept of a seed, or measure it; None: it is not there and shall not be made."""
    job = _job(prepared, work, seed, given)
    paths = [] if given.again else _evaluations(job)
    if not paths and not given.gather:
        folder = ours.model_folder(prepared, seed=seed, machine=machine)
        sys.stderr.write(f"{prepared.name}, seed {seed}: optimizing {folder}\n")
        _optimize(job, folder)
        paths = _evaluations(job)
    return pieces.read(paths[0], task=prepared.name, seed=seed) if paths else None


def _evaluations(job: BertJob) -> list[Path]:
    root = Path(layout.job_root(job).removeprefix("file://"))
    return sorted(root.glob("opt-*/evaluation.json"))


def _optimize(job: BertJob, folder: Path) -> None:
    """Publish the model and run the optimize step on it; finished candidates of a run that was ended are found again."""
    manifest = ModelManifest.from_json((folder / MANIFEST).read_bytes())
    uri = f"{job.spec.storage.prefix}/trained/{manifest.sha256}"
    folders.publish(open_storage(uri), folder, uri, manifest)
    with tempfile.TemporaryDirectory(prefix="bench-quality-") as scratch:
        optimize(Inputs(job=job, model_uri=uri, model_sha256=manifest.sha256, scratch=Path(scratch), timing_s=TIMING_S))


def _store(prepared: Prepared, seed: int) -> Path:
    return KEPT / f"{prepared.name}-{seed}-{prepared.budget}"


def _job(prepared: Prepared, work: Work, seed: int, given: argparse.Namespace) -> BertJob:
    """Return the job, whose name tells the code that makes candidates: what other code made is not found again."""
    plain = dump(prepared.job.spec)
    learning = dict(LEARNING[prepared.name])
    if given.rows is not None:
        learning |= {"examples": min(given.rows, learning["examples"]), "epochs": 1}
    has_int8 = cpu.int8_feature(cpu.features()) is not None
    speed_limit = {"minSpeedup": 1.0} if has_int8 else {"minSpeedup": 0.01, "sizeOnly": True}
    spec = {
        **plain,
        "optimize": {
            "methods": list(given.methods),
            "references": ["torch", "magnitude"],
            "vocabulary": given.vocabulary,
            "fineTune": learning,
        },
        "gate": {"maxAccuracyDrop": 0.02, "maxSizeRatio": 0.35, **speed_limit},
        "storage": {"prefix": f"file://{_store(prepared, seed)}"},
    }
    told = [spec["optimize"], spec["gate"], TIMING_S, speed.stamp(work.title, threads=cpu.available())]
    metadata = {"name": f"{prepared.name}-{short(sha256_of(told))}", "namespace": "default"}
    head = {"apiVersion": "bertjob.dev/v1alpha1", "kind": "BertJob"}
    return parse_job({**head, "metadata": metadata, "spec": spec}, local=True)


if __name__ == "__main__":
    sys.exit(main())
