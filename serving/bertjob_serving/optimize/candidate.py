"""
One candidate, built and measured in a process of its own: ``python -m bertjob_serving.optimize.candidate METHOD FOLDER``.

A crash, a hang or a full memory takes this process alone. It leaves the artifact's files in ``FOLDER/METHOD`` and
``FOLDER/METHOD.json``: the outcome, or the reason why there is none.
"""

import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import openvino as ov

from bertjob_serving import cpu, engine, golden
from bertjob_serving.optimize import contain, graph, int8, ir, measure, progress, static
from bertjob_serving.optimize.bundle import MODEL, Bundle
from bertjob_serving.optimize.outcome import Latency, Outcome
from bertjob_serving.optimize.weights import Array, read_trained
from bertjob_tasks import tokenizer_files
from bertjob_tasks.registry import task_of

_log = logging.getLogger(__name__)

FP32: Final = "fp32"
TOKENIZER: Final = "tokenizer.json"

Build = Callable[[graph.Store], ov.Model]
Builder = Callable[[Build, Bundle], ov.Model]
BUILDERS: Final[dict[str, Builder]] = {
    FP32: lambda build, _: build(graph.Float32()),
    "dynamic": lambda build, _: build(int8.Int8()),
    "static": lambda build, bundle: static.quantized(build(graph.Float32()), bundle.calibration),
}
"""How each method makes its graph."""


def produce(method: str, folder: Path) -> Outcome:
    """Build, measure and complete the artifact folder of *method* within the working folder; FP32 comes first."""
    bundle, tell = Bundle.load(folder), progress.teller(folder, method)
    target, count = folder / method, len(bundle.counts)
    _log.info("%s: building", method)
    tell("building", 0)
    trained, settings = read_trained(folder / MODEL), bundle.settings
    task, threads = task_of(settings.task, settings.problem), settings.threads

    def build(store: graph.Store) -> ov.Model:
        return graph.build(trained, store=store, reads=settings.reads, sep_id=settings.sep_id)

    ir.save(BUILDERS[method](build, bundle), target)
    own = engine.Engine(target, threads=threads)
    _log.info("%s: answering %d held-out texts", method, count)
    answers = measure.answers(
        own,
        bundle.items,
        reduce=task.reduce,
        answered=lambda done: tell(f"{done} of {count} held-out texts answered", done),
    )
    _log.info("%s: timing %d texts", method, min(len(bundle.heldout), bundle.settings.timed_texts))
    tell("timing", count)
    mix, longest = _times(method, own, bundle, folder)
    _write_tokenizer(folder / MODEL, target / TOKENIZER)
    (target / golden.FILE).write_bytes(golden.to_json(_golden(bundle, folder, target)))
    return Outcome(
        method=method,
        answers=answers,
        latency=_latency(mix[method], longest[method]),
        fp32_latency=_latency(mix[FP32], longest[FP32]),
        speedups=measure.ratios(mix[FP32], mix[method]),
        longest_speedups=measure.ratios(longest[FP32], longest[method]),
        weights_bytes=(target / engine.BIN).stat().st_size,
        engine=f"{engine.NAME} {engine.version()}, {threads} threads",
        cpu=cpu.model(),
    )


def _times(
    method: str, own: engine.Engine, bundle: Bundle, folder: Path
) -> tuple[dict[str, measure.Rounds], dict[str, measure.Rounds]]:
    """Return the times at the data's lengths and at the greatest length, of *method* and FP32."""
    settings = bundle.settings
    engines = {method: own.logits_of}
    if method != FP32:
        engines[FP32] = engine.Engine(folder / FP32, threads=settings.threads).logits_of
    texts = measure.length_sample(bundle.heldout, wanted=settings.timed_texts)
    mix = measure.interleaved(engines, texts, rounds=settings.rounds, budget_s=settings.budget_s)
    longest_text = max(bundle.heldout, key=len)
    stretched = np.resize(longest_text, settings.max_length)
    longest = measure.interleaved(engines, [stretched] * 4, rounds=settings.rounds, budget_s=settings.budget_s / 2)
    return mix, longest


def _latency(mix: measure.Rounds, longest: measure.Rounds) -> Latency:
    return Latency(
        p50_ms=measure.percentile_ms(mix, 50),
        p99_ms=measure.percentile_ms(mix, 99),
        longest_p50_ms=measure.percentile_ms(longest, 50),
    )


def _golden(bundle: Bundle, folder: Path, target: Path) -> list[golden.Item]:
    """Return the golden set, computed on one thread: how sums are split over threads must not show in its numbers."""
    reference, own = (engine.Engine(path, threads=1) for path in (folder / FP32, target))
    texts = bundle.golden_texts or (None,) * len(bundle.golden)
    return [
        golden.Item(
            ids=tuple(bundle.heldout[index].tolist()),
            text=text,
            fp32=_floats(reference.logits_of(bundle.heldout[index])),
            served=_floats(own.logits_of(bundle.heldout[index])),
        )
        for index, text in zip(bundle.golden, texts, strict=True)
    ]


def _floats(logits: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in logits.reshape(-1))


def _write_tokenizer(model: Path, target: Path) -> None:
    """Copy the model's tokenizer, or write one from its vocabulary."""
    if (model / TOKENIZER).is_file():
        shutil.copyfile(model / TOKENIZER, target)
    else:
        tokenizer_files.load(model).save(str(target))


def main(method: str, folder: Path) -> int:
    """Write ``FOLDER/METHOD.json`` and return the exit code: 0 when the file says what came of it."""
    contain.be_expendable()
    try:
        found = {"outcome": json.loads(produce(method, folder).to_json())}
    except Exception as error:  # noqa: BLE001  # the boundary of the containment: whatever it is, the other candidates go on
        _log.exception("%s: failed", method)
        found = {"failure": f"{type(error).__name__}: {error}"}
    (folder / f"{method}.json").write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
