"""
The model that is served now, asked the same held-out texts.

Its own tokenizer and label order count, and it runs in a process of its own, as candidates do:
``python -m bertjob_serving.optimize.live FOLDER``.
"""

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bertjob_api.manifest import MANIFEST, ModelManifest
from bertjob_api.status import Scores
from bertjob_serving import engine
from bertjob_serving.optimize import contain, measure
from bertjob_serving.optimize.bundle import Bundle
from bertjob_storage import folders, open_storage
from bertjob_storage.protocol import StorageError
from bertjob_tasks import encoding
from bertjob_tasks.registry import task_of
from bertjob_tasks.task import Array, Features, Task, Windows

_log = logging.getLogger(__name__)

ARTIFACT: Final = "artifact"
_REPORT: Final = "live.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """The live model, measured."""

    answers: tuple[float, ...]
    """To all held-out texts, one after another; labels numbered as the candidates' are."""
    features: Features
    """The held-out examples in its own tokens."""
    p50_ms: float
    p99_ms: float
    weights_bytes: int
    engine: str

    def scores(self, *, metric: str, value: float, examples: int) -> Scores:
        """Return the figures for the status; *value* is the metric on the held-out data."""
        return Scores(
            metric=metric,
            value=round(value, 6),
            num_examples=examples,
            latency_p50_ms=self.p50_ms,
            latency_p99_ms=self.p99_ms,
            size_bytes=self.weights_bytes,
            engine=self.engine,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the live model is asked."""

    uri: str
    """Its artifact."""
    task: Task[Any]
    examples: tuple[Any, ...]
    """Of the held-out data."""
    labels: tuple[str, ...]
    """Labels of the candidates, in their order."""
    bundle: Bundle
    """Of the candidates: how to measure."""
    folder: Path
    """Empty working folder."""
    timeout_s: float


def measured(question: Question) -> Live | None:
    """Return the live model's answers, or None, with the reason in the log, when it cannot be measured."""
    try:
        manifest = folders.fetch(open_storage(question.uri), question.uri, question.folder / ARTIFACT)
        asked = _unfit(manifest, question) or _ask(question, manifest)
    except (StorageError, ValueError) as error:
        asked = str(error)
    if isinstance(asked, str):
        _log.warning("live: cannot be measured: %s", asked)
        return None
    found = json.loads((question.folder / _REPORT).read_text(encoding="utf-8"))
    return Live(**{**found, "answers": tuple(found["answers"])}, features=asked)


def _unfit(manifest: ModelManifest, question: Question) -> str | None:
    """Return why the live model's answers cannot be compared, or None."""
    if manifest.role != "served":
        return f"its role is {manifest.role!r}, expected 'served'"
    engine.library(manifest.engine)  # raises for one that is not here
    if (manifest.task, manifest.problem) != (question.task.name, question.task.problem):
        return f"its task is {manifest.task}, another than that of this job"
    if set(manifest.labels) != set(question.labels):
        return "its labels are others than those of this job"
    return None


def _ask(question: Question, manifest: ModelManifest) -> str | Features:
    """Let the process answer; return why it did not, or what it was asked."""
    length = manifest.max_sequence_length
    encoder = encoding.Encoder.from_folder(question.folder / ARTIFACT, max_length=length, stride=manifest.stride)
    features = question.task.encode(question.examples, question.labels, encoder=encoder)
    take = tuple(manifest.labels.index(label) for label in question.labels) or None
    settings = replace(question.bundle.settings, max_length=length, take=take)
    replace(
        question.bundle,
        heldout=tuple(item.ids for item in features.inputs),
        types=tuple(item.type_ids for item in features.inputs),
        counts=features.counts or (1,) * len(features.inputs),
        calibration=(),
        training=(),
        golden_texts=None,
        settings=settings,
    ).save(question.folder)
    argv = (sys.executable, "-m", "bertjob_serving.optimize.live", str(question.folder))
    return contain.run(argv, timeout_s=question.timeout_s) or features


def main(folder: Path) -> int:
    """Write the measured figures and return the exit code."""
    contain.be_expendable()
    bundle = Bundle.load(folder)
    threads, take = bundle.settings.threads, bundle.settings.take
    task = task_of(bundle.settings.task, bundle.settings.problem)
    manifest = ModelManifest.from_json((folder / ARTIFACT / MANIFEST).read_bytes())
    library = engine.library(manifest.engine)
    own = library.compiled(folder / ARTIFACT, threads=threads)

    def reduce(outputs: Sequence[Array], tokens: Windows) -> tuple[float, ...]:
        return task.reduce(outputs if take is None else [item[..., list(take)] for item in outputs], tokens)

    alone = engine.answers_alone(manifest.engine, method=manifest.method)
    answers = measure.answers(own, bundle.items, reduce=reduce, size=1 if alone else measure.BATCH)
    texts = measure.length_sample(bundle.heldout, wanted=bundle.settings.timed_texts)
    rounds = measure.interleaved(
        {"live": own.logits_of}, texts, rounds=bundle.settings.rounds, budget_s=bundle.settings.budget_s / 2
    )["live"]
    found = {
        "answers": answers,
        "p50_ms": measure.percentile_ms(rounds, 50),
        "p99_ms": measure.percentile_ms(rounds, 99),
        "weights_bytes": (folder / ARTIFACT / library.WEIGHTS).stat().st_size,
        "engine": engine.described(manifest.engine, threads=threads),
    }
    (folder / _REPORT).write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    sys.exit(main(Path(sys.argv[1])))
