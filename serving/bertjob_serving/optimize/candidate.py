"""
One candidate, built and measured in a process of its own: ``python -m bertjob_serving.optimize.candidate NAME FOLDER``.

A crash, a hang or a full memory takes this process alone. It leaves the artifact's files in ``FOLDER/NAME`` and
``FOLDER/NAME.json``: the outcome, or the reason why there is none.
"""

import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from bertjob_serving import cpu, engine, golden
from bertjob_serving.optimize import contain, magnitude, making, measure, progress, resident
from bertjob_serving.optimize.bundle import MODEL, Bundle
from bertjob_serving.optimize.invented import invented
from bertjob_serving.optimize.outcome import Latency, Outcome
from bertjob_serving.optimize.recipes import FP32, RECIPES
from bertjob_serving.optimize.weights import Array, read_trained
from bertjob_tasks import tokenizer_files
from bertjob_tasks.registry import task_of

_log = logging.getLogger(__name__)

TOKENIZER: Final = "tokenizer.json"

FIXED: Final = 128
"""Tokens of the text that is timed beside the data's own."""


class _Own(NamedTuple):
    """A candidate that can be asked."""

    engine: engine.Engine
    weights_bytes: int


def produce(name: str, folder: Path) -> Outcome:
    """Build, measure and complete the artifact folder of the candidate *name* within the working folder; FP32 comes first."""
    bundle, tell = Bundle.load(folder), progress.teller(folder, name)
    target, count, settings = folder / name, len(bundle.counts), bundle.settings
    kind, task, threads = RECIPES[name].engine, task_of(settings.task, settings.problem), settings.threads
    _log.info("%s: building", name)
    tell("building", 0)
    own = _made(name, bundle, folder, lambda activity: tell(activity, 0))
    _log.info("%s: answering %d held-out texts", name, count)
    answers = measure.answers(
        own.engine,
        bundle.items,
        reduce=task.reduce,
        size=1 if engine.answers_alone(kind, method=name) else measure.BATCH,
        answered=lambda done: tell(f"{done} of {count} held-out texts answered", done),
    )
    _log.info("%s: timing %d texts", name, min(len(bundle.heldout), settings.timed_texts))
    tell("timing", count)
    mix, fixed = _times(name, own.engine, bundle, folder)
    if not RECIPES[name].is_shown:
        _write_tokenizer(folder / MODEL, target / TOKENIZER)
        (target / golden.FILE).write_bytes(golden.to_json(_golden(bundle, folder, name)))
    tokens = _fixed_tokens(bundle)
    return Outcome(
        method=name,
        answers=answers,
        latency=_latency(mix[name], fixed[name]),
        fp32_latency=_latency(mix[FP32], fixed[FP32]),
        speedups=measure.ratios(mix[FP32], mix[name]),
        fixed_tokens=tokens,
        fixed_speedups=measure.ratios(fixed[FP32], fixed[name]),
        weights_bytes=own.weights_bytes,
        peak_bytes=None if kind == engine.TORCH else resident.peak_bytes(kind, target, threads=threads, tokens=tokens),
        engine=engine.described(kind, threads=threads),
        cpu=cpu.model(),
    )


def _made(name: str, bundle: Bundle, folder: Path, tell: Callable[[str], None]) -> _Own:
    """Make the candidate's files, or its model in memory where it has none, and return what computes."""
    kind, settings, target = RECIPES[name].engine, bundle.settings, folder / name
    if kind == engine.TORCH:
        from bertjob_serving.optimize.tuning.torch_dynamic import Quantized  # noqa: PLC0415  # torch takes seconds

        quantized = Quantized(folder / MODEL, reads=settings.reads, sep_id=settings.sep_id, threads=settings.threads)
        return _Own(quantized, quantized.weights_bytes)
    making.make(RECIPES[name], _ingredients(name, bundle, folder, tell), target)
    library = engine.library(kind)
    return _Own(library.compiled(target, threads=settings.threads), (target / library.WEIGHTS).stat().st_size)


def _ingredients(name: str, bundle: Bundle, folder: Path, tell: Callable[[str], None]) -> making.Ingredients:
    settings, weights = bundle.settings, RECIPES[name].weights
    if weights == "trained":
        trained = read_trained(folder / MODEL)
    elif weights == "zeroed":
        trained = magnitude.zeroed(read_trained(folder / MODEL))
    else:
        from bertjob_serving.optimize.tuning import rework  # noqa: PLC0415  # torch takes seconds, and few candidates need it

        trained = rework.reworked(weights, folder, bundle, tell=tell)
    if bundle.words is not None and not RECIPES[name].is_reference:
        trained = trained.trimmed(bundle.words.tolist(), unknown=settings.unknown_id)
    return making.Ingredients(
        trained=trained.shortened(settings.max_length),
        reads=settings.reads,
        sep_id=settings.sep_id,
        mask_id=settings.mask_id,
        calibration=bundle.calibration,
    )


def _reference(folder: Path, *, threads: int) -> engine.Engine:
    return engine.library(RECIPES[FP32].engine).compiled(folder / FP32, threads=threads)


def _fixed_tokens(bundle: Bundle) -> int:
    return min(FIXED, bundle.settings.max_length)


def _times(
    name: str, own: engine.Engine, bundle: Bundle, folder: Path
) -> tuple[dict[str, measure.Rounds], dict[str, measure.Rounds]]:
    """Return the times at the data's lengths and at the fixed length, of the candidate and FP32."""
    settings = bundle.settings
    engines = {name: own.logits_of}
    if name != FP32:
        engines[FP32] = _reference(folder, threads=settings.threads).logits_of
    texts = measure.length_sample(bundle.heldout, wanted=settings.timed_texts)
    mix = measure.interleaved(engines, texts, rounds=settings.rounds, budget_s=settings.budget_s)
    stretched = np.resize(max(bundle.heldout, key=len), _fixed_tokens(bundle))
    fixed = measure.interleaved(engines, [stretched] * 4, rounds=settings.rounds, budget_s=settings.budget_s / 2)
    return mix, fixed


def _latency(mix: measure.Rounds, fixed: measure.Rounds) -> Latency:
    return Latency(
        p50_ms=measure.percentile_ms(mix, 50),
        p99_ms=measure.percentile_ms(mix, 99),
        fixed_p50_ms=measure.percentile_ms(fixed, 50),
        fixed_p99_ms=measure.percentile_ms(fixed, 99),
    )


def _golden(bundle: Bundle, folder: Path, name: str) -> list[golden.Item]:
    """Return the golden set, computed on one thread: how sums are split over threads must not show in its numbers."""
    reference = _reference(folder, threads=1)
    own = engine.library(RECIPES[name].engine).compiled(folder / name, threads=1)
    texts = bundle.golden_texts or (None,) * len(bundle.golden)
    return [
        golden.Item(
            ids=tuple(ids.tolist()),
            text=text,
            fp32=_floats(reference.logits_of(ids)),
            served=_floats(own.logits_of(ids)),
        )
        for ids, text in zip(_golden_ids(bundle), texts, strict=True)
    ]


def _golden_ids(bundle: Bundle) -> list[Array]:
    """Return the token ids (S,) of the golden inputs: held-out ones, or invented ones where texts may not be stored."""
    found, settings = [bundle.heldout[index] for index in bundle.golden], bundle.settings
    if bundle.golden_texts is not None:
        return found
    kept = {token for token in (settings.sep_id, settings.mask_id) if token is not None}
    return [invented(ids, kept=kept, vocabulary=settings.vocabulary, number=number) for number, ids in enumerate(found)]


def _floats(logits: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in logits.reshape(-1))


def _write_tokenizer(model: Path, target: Path) -> None:
    """Copy the model's tokenizer, or write one from its vocabulary."""
    if (model / TOKENIZER).is_file():
        shutil.copyfile(model / TOKENIZER, target)
    else:
        tokenizer_files.load(model).save(str(target))


def main(name: str, folder: Path) -> int:
    """Write ``FOLDER/NAME.json`` and return the exit code: 0 when the file says what came of it."""
    contain.be_expendable()
    try:
        found = {"outcome": json.loads(produce(name, folder).to_json())}
    except Exception as error:  # noqa: BLE001  # the boundary of the containment: whatever it is, the other candidates go on
        _log.exception("%s: failed", name)
        found = {"failure": f"{type(error).__name__}: {error}"}
    (folder / f"{name}.json").write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
