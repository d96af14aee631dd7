"""The parts of the page that tell how a model answers. Pure."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from bertjob_trainer.report import charts
from bertjob_trainer.report.findings import NOTHING, RANKS_OFF, Analysis, Mistake, OfClass
from bertjob_trainer.report.parts import section, table, words

_MOST_ROWS: Final = 60
_LEFT_OUT: Final = '<p class="soft">Texts are left out: privacy.storeTexts is false.</p>'


def answers(found: Analysis, scores: Mapping[str, float]) -> str:
    """Return pictures and tables of all answers; "" where there is none."""
    parts = []
    if found.points:
        title = "similarity" if found.weighed == RANKS_OFF else "answers"
        parts.append(
            f"<h3>{title}: expected (across) and answered (up)</h3>{charts.scatter(found.points, label=title)}"
        )
    if found.confusion is not None and len(found.labels) <= charts.MOST_CELLS:
        parts.append(
            "<h3>confusion: a row for each expected, a column for each answered class</h3>"
            f'<div class="scroll">{charts.matrix(found.confusion, found.labels)}</div>'
        )
    if found.classes:
        parts.append(_classes(found.classes))
    if found.counts:
        parts.append(_counts(found.counts))
    if found.chances:
        parts.append(_chances(found.chances, scores))
    return section(
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
    return f"<h3>by class, the worst first</h3>{table(('class', 'F1', 'precision', 'recall', 'examples'), rows, numbers=2)}{left}"


def _counts(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    rows = [[escape(name), _bar(count / total) + f"{count / total:.1%}", str(count)] for name, count in counts.items()]
    return f"<h3>how the answers came out</h3>{table(('', 'share', 'examples'), rows, numbers=2)}"


def _chances(chances: Mapping[str, float], scores: Mapping[str, float]) -> str:
    rows = [
        [escape(words(name)), f"{scores[name]:.4f}", f"{level:.4f}", f"{scores[name] - level:+.4f}"]
        for name, level in chances.items()
        if name in scores
    ]
    head = ("", "reached", "by chance", "gained")
    note = '<p class="soft">By chance: what one gets who always gives the commonest answer, the dashed line in the pictures above.</p>'
    return f"<h3>against chance</h3>{table(head, rows, numbers=1)}{note}"


def _bar(share: float) -> str:
    return f'<span class="bar"><i style="width:{share:.0%}"></i></span>'


def mixed(found: Analysis, pieces: Mapping[int, str] | None) -> str:
    """Return the pieces that were mixed up most often; "" where there are none."""
    if not found.mixed:
        return ""
    if pieces is None:
        return section("Most often confused", _LEFT_OUT)
    rows = [
        [escape(pieces.get(each.expected, "")), escape(pieces.get(each.answered, "")), str(each.times)]
        for each in found.mixed
    ]
    return section("Most often confused", table(("hidden", "answered", "times"), rows, numbers=2))


def mistakes(found: Analysis, texts: Mapping[int, str] | None) -> str:
    """Return the worst answers, with *texts* by example; None: without any text of the data."""
    if not found.mistakes:
        return ""
    rows = [
        [
            str(each.index + 1),
            *([_text(each, texts.get(each.index, ""))] if texts is not None else []),
            escape(_quoted(each.expected, found, texts)),
            escape(_quoted(each.answered, found, texts)),
            escape(each.weight),
        ]
        for each in found.mistakes
    ]
    text = (
        ()
        if texts is None
        else ("question, and the text around the answer" if found.quotes else "text, as the model read it",)
    )
    head = ("example", *text, "expected", "answered", found.weighed)
    note = _LEFT_OUT if texts is None else ""
    title = "Worst pairs" if found.weighed == RANKS_OFF else "Worst mistakes"
    return section(title, note + table(head, rows, text=None if texts is None else 1))


def _text(mistake: Mistake, text: str) -> str:
    around = f'<div class="soft">{escape(mistake.around)}</div>' if mistake.around else ""
    return f"{escape(text)}{around}"


def _quoted(value: str, found: Analysis, texts: Mapping[int, str] | None) -> str:
    """Return *value*, or what kind of answer it is where no text of the data may be shown."""
    return "an answer" if texts is None and found.quotes and value != NOTHING else value
