"""The report as one HTML page. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from bertjob_trainer.course import EVALUATION, START, STEP, Record
from bertjob_trainer.report import charts
from bertjob_trainer.report.analysis import Analysis, OfClass
from bertjob_trainer.report.charts import Line, Mark
from bertjob_trainer.report.style import CSS

_CANDIDATES: Final = ("<!-- candidates -->", "<!-- /candidates -->")
"""Between these the step that optimizes puts its picture of the INT8 candidates."""
_MOST_ROWS: Final = 60


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
    chosen: int
    """Optimizer steps of the published model."""
    reasons: Sequence[str]
    analysis: Analysis
    texts: Mapping[int, str] | None
    """Held-out inputs by number; None: texts are not to be stored."""
    spec: Mapping[str, Any]
    """The job's spec with every default."""
    model: str
    """URI of the published model."""
    environment: Mapping[str, str]


def html(report: Report) -> str:
    """Return the page."""
    parts = [
        f"<header><h1>{escape(report.name)}</h1><p>{escape(report.task)}, a model of {report.chosen} steps</p></header>",
        _figures(report),
        *(f'<p class="note">{escape(reason[0].upper() + reason[1:])}.</p>' for reason in report.reasons),
        _curves(report),
        _answers(report.analysis),
        _mistakes(report.analysis, report.texts),
        *_CANDIDATES,
        _section("Environment", _facts(report.environment)),
        _section("Job", f"<details><summary>every field, defaults filled in</summary>{_config(report.spec)}</details>"),
        f"<footer>The model is at {escape(report.model)}. Written by BertJob; this file needs nothing but itself.</footer>",
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.name)}: training report</title><style>{CSS}</style>"
    )
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body><main>\n{body}\n</main></body></html>\n'


def with_candidates(page: str, svg: str) -> str:
    """Return the page with a picture of the INT8 candidates, in place of one that is there; a page without a place stays."""
    begin, end = _CANDIDATES
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        return page
    content = f'<div class="candidates">{svg}</div>'
    return f"{before}{begin}\n{_section('INT8 candidates', content)}\n{end}{after}"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


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
        line = Line(points=_series(looks, name), style="line", dots=True)
        drawn.append((f"held out: {words(name)}", charts.chart([line], label=f"{name} over steps", marks=marks)))
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
    return _section("How it went", f'<div class="charts">{pictures}</div>{hint if marks else ""}') if drawn else ""


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
    if report.chosen != last:
        marks.append(Mark(at=report.chosen, title=f"step {report.chosen}: the published model"))
    return marks


def _answers(found: Analysis) -> str:
    parts = []
    if found.points:
        parts.append(f"<h3>expected (across) and answered (up)</h3>{charts.scatter(found.points, label='answers')}")
    if found.confusion is not None and len(found.labels) <= charts.MOST_CELLS:
        parts.append(
            "<h3>confusion: a row for each expected, a column for each answered class</h3>"
            f'<div class="scroll">{charts.matrix(found.confusion, found.labels)}</div>'
        )
    if found.classes:
        parts.append(_classes(found.classes))
    return _section(
        "Answers", f'<div class="charts">{"".join(f"<div>{part}</div>" for part in parts)}</div>' if parts else ""
    )


def _classes(classes: Sequence[OfClass]) -> str:
    worst = sorted(classes, key=lambda each: each.f1)[:_MOST_ROWS]
    rows = [
        [
            escape(each.label),
            f'<span class="bar"><i style="width:{each.f1:.0%}"></i></span>{each.f1:.3f}',
            f"{each.precision:.3f}",
            f"{each.recall:.3f}",
            str(each.expected),
        ]
        for each in worst
    ]
    left = f'<p class="soft">The {_MOST_ROWS} worst of {len(classes)}.</p>' if len(classes) > _MOST_ROWS else ""
    return f"<h3>by class, the worst first</h3>{_table(('class', 'F1', 'precision', 'recall', 'examples'), rows, numbers=2)}{left}"


def _mistakes(found: Analysis, texts: Mapping[int, str] | None) -> str:
    if not found.mistakes:
        return ""
    with_texts = texts is not None
    rows = [
        [
            str(each.index + 1),
            *([escape(texts.get(each.index, ""))] if texts is not None else []),
            escape(each.expected),
            escape(each.answered),
            escape(each.weight),
        ]
        for each in found.mistakes
    ]
    head = (
        "example",
        *(("text, as the model read it",) if with_texts else ()),
        "expected",
        "answered",
        "how far off" if found.points else "how sure",
    )
    note = "" if with_texts else '<p class="soft">Texts are left out: privacy.storeTexts is false.</p>'
    return _section("Worst mistakes", note + _table(head, rows, text=1 if with_texts else None))


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int | None = None, text: int | None = None
) -> str:
    """Return a table of cells that are HTML; from column *numbers* on they are numbers, column *text* has long text."""

    def kind(column: int) -> str:
        if numbers is not None and column >= numbers:
            return ' class="number"'
        return ' class="text"' if column == text else ""

    top = "".join(f"<th{kind(column)}>{escape(name)}</th>" for column, name in enumerate(head))
    body = "".join(
        f"<tr>{''.join(f'<td{kind(column)}>{cell}</td>' for column, cell in enumerate(row))}</tr>" for row in rows
    )
    return f'<div class="scroll"><table><tr>{top}</tr>{body}</table></div>'


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts.items())
    return f'<table class="facts">{rows}</table>'


def _config(spec: Mapping[str, Any]) -> str:
    return f"<pre>{escape(json.dumps(spec, indent=2, ensure_ascii=False))}</pre>"


def words(name: str) -> str:
    """Return a metric's name for people: ``testMacroF1`` is ``test macro F1``."""
    spaced = "".join(f" {letter}" if letter.isupper() and index else letter for index, letter in enumerate(name))
    return " ".join(word if word[1:].isdigit() else word.lower() for word in spaced.split())
