"""The optimize step from top to bottom; every part that is done already is found in storage and not done again."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bertjob_api import layout, names, termination
from bertjob_api.digest import canonical_json
from bertjob_api.job import BertJob
from bertjob_api.parse import dump
from bertjob_api.spec import Gate, Optimize
from bertjob_api.termination import Result
from bertjob_serving import cpu
from bertjob_serving.golden import SIZE
from bertjob_serving.optimize import (
    build,
    drawing,
    heldout,
    judging,
    live,
    progress,
    report,
    texts,
    training_report,
    vocabulary,
)
from bertjob_serving.optimize.bundle import MODEL, TIMING_S, Bundle, Settings, spread
from bertjob_serving.optimize.live import Live
from bertjob_serving.optimize.outcome import Record
from bertjob_serving.optimize.recipes import possible
from bertjob_serving.optimize.report import Row
from bertjob_serving.optimize.weights import CONFIG, Array, read_config
from bertjob_storage import folders, open_storage
from bertjob_storage.protocol import NotFoundError, Storage
from bertjob_tasks import encoding, registry
from bertjob_tasks.encoding import Ids
from bertjob_tasks.task import Features

_log = logging.getLogger(__name__)


class OptimizeError(Exception):
    """The reference could not be built or measured; nothing can be judged without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What is optimized, and where the work is done."""

    job: BertJob
    model_uri: str
    model_sha256: str
    scratch: Path
    """Empty local folder."""
    live_uri: str | None = None
    """Artifact that is served now; None: there is none."""
    timeout_s: float = build.TIMEOUT_S
    timing_s: float = TIMING_S
    """Seconds of timing for each candidate."""
    address: str | None = None
    """IP address to tell the progress on; None: nobody asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The working folder, filled."""

    shop: build.Workshop
    bundle: Bundle
    examples: tuple[Any, ...]
    """Of the held-out data."""
    features: Features
    """The same, encoded, with what answers to them are judged by."""


def optimize(inputs: Inputs) -> Result:
    """
    Return the result of the optimize step: published artifact, evaluation and verdict.

    Raises:
        ValueError: data, model or spec cannot be used.
        StorageError: storage did not do what was asked.
        OptimizeError: FP32 itself could not be measured.

    """
    spec = inputs.job.spec
    registry.served_of(spec.model)  # raises for a task that nobody knows
    storage = open_storage(spec.storage.prefix)
    source = heldout.download(spec.data.validation, spec=spec, folder=inputs.scratch / "validation")
    name = layout.optimize_id(inputs.job, model_sha256=inputs.model_sha256, validation_sha256=source.sha256)
    run = f"{layout.job_root(inputs.job)}/{name}"
    committed = _committed(storage, run)
    if committed is not None:
        _log.info("%s: found finished, nothing to do", run)
        return committed
    prepared = _prepare(inputs, storage, run, source)
    shop = prepared.shop
    board = progress.Board(
        folder=shop.folder, methods=possible(spec.optimize, hides=shop.task.hides), texts=len(prepared.bundle.counts)
    )
    with progress.served(board, address=inputs.address, port=names.PROGRESS_PORT):
        return _optimized(inputs, prepared, source, board)


def _optimized(inputs: Inputs, prepared: Prepared, source: heldout.Source, board: progress.Board) -> Result:
    """Build and measure every candidate, judge them, and commit."""
    shop = prepared.shop
    candidates = _candidates(shop, board)
    fp32 = next(candidates)
    if isinstance(fp32, str):
        message = f"fp32: {fp32}"
        raise OptimizeError(message)
    made = dict(zip(board.methods[1:], candidates, strict=True))
    measured = judging.Measured(
        task=shop.task,
        features=prepared.features,
        fp32=fp32,
        candidates=made,
        live=_live(inputs, prepared),
        has_live=inputs.live_uri is not None,
        int8_feature=cpu.int8_feature(cpu.features()) is not None,
    )
    rows = judging.rows(measured, _limits(inputs))
    result = judging.result(rows, measured)
    _log.info("candidates on %s:\n%s", cpu.model(), report.table(rows))
    training_report.add_candidates(inputs.model_uri, drawing.svg(rows))
    _commit(shop, source, rows, result)
    return result


def _candidates(shop: build.Workshop, board: progress.Board) -> Iterator[Record | str]:
    """Yield the record of each method on the board, or the reason why there is none."""
    for method in board.methods:
        yield build.candidate(shop, method)
        board.finished += 1


def _committed(storage: Storage, run: str) -> Result | None:
    """Return the result of an earlier run whose artifact is still there, or None."""
    try:
        result = termination.decode(storage.get(f"{run}/result.json").decode())
        if result is not None and result.artifact is not None:
            folders.read_manifest(storage, result.artifact.uri, sha256=result.artifact.sha256)
    except NotFoundError:
        return None
    return result


def _prepare(inputs: Inputs, storage: Storage, run: str, source: heldout.Source) -> Prepared:
    """Fetch the model, encode the texts and write the bundle into the working folder."""
    spec, folder = inputs.job.spec, inputs.scratch / "work"
    _log.info("fetching the trained model from %s", inputs.model_uri)
    trained = folders.fetch(open_storage(inputs.model_uri), inputs.model_uri, folder / MODEL, inputs.model_sha256)
    config, task = read_config(folder / MODEL / CONFIG), registry.served_of(spec.model)
    labels = trained.labels or (config.labels if task.has_labels else ())
    max_length = min(spec.data.max_sequence_length, config.max_positions)
    encoder = encoding.Encoder.from_folder(folder / MODEL, max_length=max_length, stride=spec.data.stride)
    examples = heldout.read(source, spec=spec, labels=labels)
    features = task.encode(examples, labels, encoder=encoder)
    golden = spread(len(examples), wanted=SIZE)
    drawn = texts.drawn(spec, task, encoder, folder=inputs.scratch / "train")
    parts = features.slices
    bundle = Bundle(
        heldout=tuple(item.ids for item in features.inputs),
        types=tuple(item.type_ids for item in features.inputs),
        counts=features.counts or (1,) * len(features.inputs),
        calibration=drawn.calibration,
        training=drawn.training,
        words=_words(drawn.language, encoder),
        golden=tuple(parts[index].start for index in golden),
        golden_texts=tuple(task.asked(examples[index]) for index in golden) if spec.privacy.store_texts else None,
        settings=Settings(
            threads=cpu.available(),
            budget_s=inputs.timing_s,
            max_length=max_length,
            task=task.name,
            problem=task.problem,
            reads=task.reads,
            sep_id=encoder.sep_id if len(task.inputs) > 1 else None,
            mask_id=encoder.mask_id if task.hides else None,
            vocabulary=encoder.vocab_size,
            unknown_id=encoder.unk_id,
            tuning=texts.tuning(spec.optimize or Optimize()),
        ),
    )
    bundle.save(folder)
    shop = build.Workshop(
        job=inputs.job,
        storage=storage,
        folder=folder,
        run=run,
        task=task,
        labels=labels,
        max_length=max_length,
        origin={"model": inputs.model_sha256},
        timeout_s=inputs.timeout_s,
    )
    return Prepared(shop=shop, bundle=bundle, examples=tuple(examples), features=features)


def _words(texts: Sequence[Ids], encoder: encoding.Encoder) -> Array | None:
    """Return the token ids whose embeddings candidates keep, by the language of *texts*, or None without any."""
    if not texts:
        return None
    spelling = encoder.spelling()
    special = (encoder.pad_id, encoder.unk_id, encoder.cls_id, encoder.sep_id, encoder.mask_id)
    kept = vocabulary.of_language(spelling, texts, always=special)
    _log.info("vocabulary: %d of %d tokens are of the language of the training texts", len(kept), len(spelling))
    return np.array(kept, np.int64)


def _live(inputs: Inputs, prepared: Prepared) -> Live | None:
    """Return the live model's answers, or None when nobody wants to compare with it or it cannot be measured."""
    if inputs.live_uri is None or inputs.job.spec.optimize is None or "live" not in _limits(inputs).against:
        return None
    question = live.Question(
        uri=inputs.live_uri,
        task=prepared.shop.task,
        examples=prepared.examples,
        labels=prepared.shop.labels,
        bundle=prepared.bundle,
        folder=inputs.scratch / "live",
        timeout_s=inputs.timeout_s,
    )
    _log.info("live: measuring %s", inputs.live_uri)
    return live.measured(question)


def _limits(inputs: Inputs) -> Gate:
    return inputs.job.spec.gate or Gate()


def _commit(shop: build.Workshop, source: heldout.Source, rows: list[Row], result: Result) -> None:
    """Write evaluation.json and its picture, then result.json, unless a candidate may do better at another try."""
    assert result.evaluation is not None, "every judgement has an evaluation"
    inputs = {
        "cpu": cpu.model(),
        "model": shop.origin["model"],
        "validation": source.sha256,
        "gate": dump(shop.job.spec.gate or Gate()),
    }
    evaluation = report.as_json(rows, result.evaluation, inputs=inputs)
    shop.storage.put(f"{shop.run}/evaluation.json", canonical_json(evaluation))
    shop.storage.put(f"{shop.run}/candidates.svg", drawing.svg(rows).encode("utf-8"))
    if result.failure is None or all(row.record is not None for row in rows):
        shop.storage.put(f"{shop.run}/result.json", termination.encode(result).encode("ascii"))
