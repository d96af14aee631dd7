"""The report: what it finds, what it draws, and that it needs nothing and gives nothing away."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from support.jobs import a_job

from bertjob_api.job import parse_job
from bertjob_api.spec import Model
from bertjob_serving.optimize import training_report
from bertjob_tasks import registry
from bertjob_tasks.encoding import Encoded
from bertjob_tasks.task import IGNORED, Features
from bertjob_trainer.course import Course
from bertjob_trainer.report import analysis, charts, environment, page, parts, writing
from bertjob_trainer.report.findings import Analysis, Mistake

LABELS = ("bad", "good")


def task_of(task: str, problem: str | None = None) -> Any:
    """Return a task."""
    return registry.of_spec(Model(source="preset://bert-tiny", task=task, problem=problem))  # type: ignore[arg-type]


def features(targets: Any, *, lengths: tuple[int, ...]) -> Features:
    """Return held-out inputs of so many tokens."""
    inputs = tuple(Encoded(np.arange(length, dtype=np.int32), np.zeros(length, dtype=np.int32)) for length in lengths)
    return Features(inputs=inputs, targets=np.array(targets))


def test_one_label_each() -> None:
    """Rows of the confusion are what is expected; the surest mistake comes first; the table has every class."""
    outputs = [np.array(row) for row in ([3.0, 0.0], [0.0, 1.0], [0.0, 5.0], [2.0, 0.0])]
    found = analysis.analyse(
        task_of("sequence-classification"), features([0, 0, 0, 1], lengths=(3,) * 4), outputs, labels=LABELS
    )

    assert found.confusion is not None
    assert found.confusion.tolist() == [[1, 2], [1, 0]]
    assert [(each.index, each.expected, each.answered) for each in found.mistakes] == [
        (2, "bad", "good"),
        (3, "good", "bad"),
        (1, "bad", "good"),
    ]
    assert [(each.label, each.precision, round(each.recall, 3), each.expected) for each in found.classes] == [
        ("bad", 0.5, 0.333, 3),
        ("good", 0.0, 0.0, 1),
    ]


def test_many_labels_each() -> None:
    """A mistake names all labels that were expected and answered; an input without a wrong label is none."""
    outputs = [np.array(row) for row in ([3.0, -3.0], [2.0, 2.0])]
    found = analysis.analyse(
        task_of("sequence-classification", "multi-label"),
        features([[1.0, 0.0], [0.0, 0.0]], lengths=(3, 3)),
        outputs,
        labels=LABELS,
    )

    assert [(each.index, each.expected, each.answered) for each in found.mistakes] == [(1, "none", "bad, good")]
    assert [(each.precision, each.recall) for each in found.classes] == [(0.5, 1.0), (0.0, 0.0)]


def test_numbers() -> None:
    """The largest error comes first, and points are pairs of expected and answered."""
    found = analysis.analyse(
        task_of("sequence-classification", "regression"),
        features([[1.0], [2.0]], lengths=(3, 3)),
        [np.array([1.5]), np.array([5.0])],
        labels=(),
    )

    assert found.points == ((1.0, 1.5), (2.0, 5.0))
    assert [(each.index, each.weight) for each in found.mistakes] == [(1, "3"), (0, "0.5")]


def test_tags() -> None:
    """Only tokens with a tag are judged, and a mistake leads to its text."""
    targets = [IGNORED, 0, IGNORED, IGNORED, 1, 0]
    outputs = [np.array([[9.0, 0.0], [1.0, 0.0], [9.0, 0.0]]), np.array([[0.0, 9.0], [1.0, 0.0], [1.0, 0.0]])]
    found = analysis.analyse(
        task_of("token-classification"), features(targets, lengths=(3, 3)), outputs, labels=("O", "B-x")
    )

    assert found.confusion is not None
    assert found.confusion.tolist() == [[2, 0], [1, 0]]
    assert [(each.index, each.expected, each.answered) for each in found.mistakes] == [(1, "B-x", "O")]


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (0.131, 0.874), (-3.0, 1250.0), (5.0, 5.0), (0.0, 0.0), (1e-9, 2e-5), (-7.0, -7.0)]
)
def test_ticks_are_few_and_hold_the_range(low: float, high: float) -> None:
    """The ends of an axis are round and nothing lies outside."""
    found = charts.ticks(low, high)

    assert found[0] <= low <= high <= found[-1]
    assert 2 <= len(found) <= 8
    assert list(found) == sorted(set(found))


def a_report(**changes: Any) -> page.Report:
    """Return a small report with markup in every text that users give."""
    course = Course()
    course.started(0, now=10.0, values={"processes": 2})
    for step in (1, 2, 3):
        values = {"loss": 1 / step, "learningRate": 1e-5, "samplesPerSecond": 9.0}
        course.stepped(step, total=3, now=10.0 + step, values=values)
    course.started(2, now=12.5, values={"processes": 1})
    course.evaluated(2, now=13.0, values={"epoch": 0.5, "accuracy": 0.75, "macroF1": 0.5})
    found = Analysis(
        labels=("<i>", "b"),
        confusion=np.array([[3, 1], [0, 2]]),
        mistakes=(Mistake(index=1, expected="<i>", answered="b", weight="99.0%"),),
    )
    report = page.Report(
        name="topics",
        task="sequence-classification",
        metric="accuracy",
        scores={"accuracy": 0.75, "macroF1": 0.5},
        records=course.records,
        chosen=2,
        reasons=("the model is that of step 2, the best by accuracy",),
        analysis=found,
        pieces={},
        texts={1: "a <script>alert(1)</script> text"},
        spec={"model": {"source": "<b>"}},
        model="s3://b/models/x",
        environment={"started": "then"},
    )
    return replace(report, **changes)


class Elements(HTMLParser):
    """Collects tags, and what they would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag."""
        self.tags.append(tag)
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href")]


def test_page_needs_nothing_and_runs_nothing() -> None:
    """No script, nothing to fetch, and what users wrote stands there as text."""
    found = page.html(a_report())
    elements = Elements()
    elements.feed(found)

    assert not {"script", "link", "img", "i"} & set(elements.tags)
    assert elements.fetched == []
    assert "url(" not in found
    assert "@import" not in found
    assert "a &lt;script&gt;alert(1)&lt;/script&gt; text" in found
    for picture in found.split("<svg")[1:]:
        ET.fromstring("<svg" + picture.split("</svg>")[0] + "</svg>")  # noqa: S314  # our own text
    assert found.count("<svg") == 6
    assert found.count('class="mark"') == 2 * 5


def test_candidates_are_put_in_once(tmp_path: Path) -> None:
    """The picture stands in the report of the model, a second one takes its place, and a model without a report is no error."""
    uri = f"file://{tmp_path}/models/abc"
    training_report.add_candidates(uri, "<svg/>")
    (tmp_path / "models").mkdir()
    report = tmp_path / "models" / "abc.report.html"
    report.write_text(page.html(a_report()))

    for picture in ("<svg id='a'/>", "<svg id='b'/>"):
        training_report.add_candidates(uri, picture)

    found = report.read_text()
    assert (found.count("<svg id='a'/>"), found.count("<svg id='b'/>")) == (0, 1)
    assert found.count("INT8 candidates") == 1
    assert found.index("Environment") > found.index("INT8 candidates")


def test_page_without_texts_says_so() -> None:
    """With privacy.storeTexts false the mistakes are there and their texts are not."""
    job = parse_job(a_job(privacy={"storeTexts": False}))
    texts = writing.texts(job, a_report().analysis, (), tokenizer=None)  # type: ignore[arg-type]  # never opened

    found = page.html(a_report(texts=texts))

    assert texts is None
    assert "alert" not in found
    assert "99.0%" in found
    assert "privacy.storeTexts is false" in found


def test_foreign_objects_of_the_spec_are_not_shown() -> None:
    """What a user put into the pod's template, such as a token, stays out of the report."""
    template = {"spec": {"containers": [{"name": "train", "env": [{"name": "TOKEN", "value": "hush"}]}]}}
    job = parse_job(a_job(training={"podTemplate": template, "epochs": 7}))

    found = page.html(a_report(spec=writing.shown_spec(job)))

    assert "hush" not in found
    assert "&quot;epochs&quot;: 7" in found


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (75, "1 min 15 s"), (3720, "1 h 02 min")])
def test_durations(seconds: float, text: str) -> None:
    """People read hours, minutes and seconds."""
    assert environment.duration(seconds) == text


@pytest.mark.parametrize(
    ("name", "text"), [("accuracy", "accuracy"), ("testMacroF1", "test macro F1"), ("exactMatch", "exact match")]
)
def test_words(name: str, text: str) -> None:
    """Names of metrics are spelled for people."""
    assert parts.words(name) == text
