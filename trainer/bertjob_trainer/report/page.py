"""The report as one HTML page. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from bertjob_trainer.course import EVALUATION, START, STEP, Record
from bertjob_trainer.report import charts
from bertjob_trainer.report.answers import answers, mistakes, mixed
from bertjob_trainer.report.charts import Line, Mark
from bertjob_trainer.report.findings import Analysis
from bertjob_trainer.report.parts import section, words
from bertjob_trainer.report.style import CSS

_CANDIDATES: Final = ("<!-- candidates -->", "<!-- /candidates -->")
"""Between these the step that optimizes puts its picture of the INT8 candidates."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """Everything that the page shows."""

    name: str
    task: str
    metric: str
    """The deciding metric."""
    scores: Mapping[str, float]
    records: Sequence[Record]
    """The course of the run."""
    chosen: int | None
    """Optimizer steps of the published model; None: nobody told."""
    reasons: Sequence[str]
    analysis: Analysis
    texts: Mapping[int, str] | None
    """Held-out inputs by number; None: texts are not to be stored."""
    pieces: Mapping[int, str] | None
    """Pieces of the vocabulary by number; None: texts are not to be stored."""
    spec: Mapping[str, Any]
    """The job's spec with every default."""
    model: str
    """URI of the published model."""
    environment: Mapping[str, str]


def html(report: Report) -> str:
    """Return the page."""
    parts = [
        f"<header><h1>{escape(report.name)}</h1><p>{escape(_subtitle(report))}</p></header>",
        _figures(report),
        *(f'<p class="note">{escape(reason[0].upper() + reason[1:])}.</p>' for reason in report.reasons),
        _curves(report),
        answers(report.analysis, report.scores),
        mixed(report.analysis, report.pieces),
        mistakes(report.analysis, report.texts),
        *_CANDIDATES,
        section("Environment", _facts(report.environment)),
        section("Job", f"<details><summary>every field, defaults filled in</summary>{_config(report.spec)}</details>"),
        f"<footer>The model is at {escape(report.model)}. Written by BertJob; this file needs nothing but itself.</footer>",
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.name)}: training report</title><style>{CSS}</style>"
    )
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body><main>\n{body}\n</main></body></html>\n'


def _subtitle(report: Report) -> str:
    return report.task if report.chosen is None else f"{report.task}, a model of {report.chosen} steps"


def with_candidates(page: str, svg: str) -> str:
    """Return the page with a picture of the INT8 candidates, in place of one that is there; a page without a place stays."""
    begin, end = _CANDIDATES
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        return page
    content = f'<div class="candidates">{svg}</div>'
    return f"{before}{begin}\n{section('INT8 candidates', content)}\n{end}{after}"


def _figures(report: Report) -> str:
    names = [report.metric, *(name for name in report.scores if name != report.metric)]
    shown = [
        f'<div class="figure{" main" if name == report.metric else ""}"><b>{report.scores[name]:.4f}</b>'
        f"<span>{escape(words(name))}</span></div>"
        for name in names
        if name in report.scores
    ]
    return f'<div class="figures">{"".join(shown)}</div>'


def _curves(report: Report) -> str:
    steps = [record for record in report.records if record.kind == STEP]
    looks = [record for record in report.records if record.kind == EVALUATION]
    marks = _marks(report)
    drawn = []
    loss = _series(steps, "loss")
    if loss:
        drawn.append(("training loss", charts.chart(_smoothed(loss), label="training loss over steps", marks=marks)))
    for name in dict.fromkeys(name for record in looks for name in record.values if name != "epoch"):
        points = _series(looks, name)
        lines = [Line(points=points, style="line", dots=True), *_chance(report.analysis, name, points)]
        drawn.append((f"held out: {words(name)}", charts.chart(lines, label=f"{name} over steps", marks=marks)))
    rate = _series(steps, "learningRate")
    if rate:
        drawn.append(
            ("learning rate", charts.chart([Line(points=rate, style="line")], label="learning rate", marks=marks))
        )
    speed = _series(steps, "samplesPerSecond")
    if speed:
        drawn.append(("examples per second", charts.chart(_smoothed(speed), label="examples per second", marks=marks)))
    pictures = "".join(f"<div><h3>{escape(title)}</h3>{picture}</div>" for title, picture in drawn)
    hint = '<p class="soft">Across: optimizer steps. Dashed: where processes began or went on, and the published model.</p>'
    return section("How it went", f'<div class="charts">{pictures}</div>{hint if marks else ""}') if drawn else ""


def _chance(found: Analysis, name: str, points: charts.Points) -> list[Line]:
    """Return the level of a metric that the commonest answer alone gives, as a line under its curve."""
    level = found.chances.get(name)
    return [] if level is None else [Line(points=((points[0][0], level), (points[-1][0], level)), style="mark")]


def _smoothed(points: charts.Points) -> list[Line]:
    soft = charts.smooth(points, window=max(1, len(points) // 30))
    return [Line(points=points, style="faint"), Line(points=soft, style="line")]


def _series(records: Iterable[Record], name: str) -> list[tuple[float, float]]:
    return [(float(record.step), record.values[name]) for record in records if name in record.values]


def _marks(report: Report) -> list[Mark]:
    starts = [record for record in report.records if record.kind == START and record.step > 0]
    marks = [
        Mark(at=record.step, title=f"step {record.step}: {record.values.get('processes', 1):g} processes go on")
        for record in starts
    ]
    last = max((record.step for record in report.records), default=0)
    if report.chosen is not None and report.chosen != last:
        marks.append(Mark(at=report.chosen, title=f"step {report.chosen}: the published model"))
    return marks


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts.items())
    return f'<table class="facts">{rows}</table>'


def _config(spec: Mapping[str, Any]) -> str:
    return f"<pre>{escape(json.dumps(spec, indent=2, ensure_ascii=False))}</pre>"
