"""A toy job for each task that a tiny model can learn, and what its served answers must be."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.jobs import Object
from support.workers import a_toy_job

Row = dict[str, Any]


@dataclass(frozen=True)
class Toy:
    """A task with data that tell their labels."""

    name: str
    problem: str | None
    rows: Callable[[random.Random], Row]
    metric: str
    asked: Any
    """A V1 instance."""
    answer: dict[str, Any]
    """What its answer must hold."""
    learning_rate: float = 5e-3
    bar: float = 0.9
    """What the metric must reach."""
    spec: dict[str, Any] = field(default_factory=dict)
    """More of ``spec.data``."""
    served: float = 0.9
    """Least metric of the served model."""
    head: dict[str, int] = field(default_factory=dict)
    """``spec.model.head``."""
    write: Callable[[Path, list[Row]], Path] | None = None
    """Writes rows below a folder-and-stem; None: JSON lines."""

    @property
    def id(self) -> str:
        """Return a name for the test's output."""
        return self.name if self.problem is None else f"{self.name}-{self.problem}"


def _words(rng: random.Random, *more: str) -> str:
    words = [rng.choice(("the", "sat", "ran", "very")) for _ in range(rng.randint(1, 6))]
    for word in more:
        words.insert(rng.randrange(len(words) + 1), word)
    return " ".join(words)


def _by_the_second(rng: random.Random) -> Row:
    """Return a pair whose second text tells the label, while the first one leads astray."""
    said = rng.choice(("good", "bad"))
    return {"text": _words(rng, rng.choice(("good", "bad"))), "text_pair": _words(rng, said), "label": said}


def _number(rng: random.Random) -> Row:
    row = _by_the_second(rng)
    return {**row, "label": {"good": 1.5, "bad": -0.5}[row["label"]]}


def _alike(rng: random.Random) -> Row:
    """Return two texts that mean the same when they say the same."""
    row = _by_the_second(rng)
    first = "good" if "good" in row["text"].split() else "bad"
    return {**row, "label": 5 if first == row["label"] else 0}


def _animals(rng: random.Random) -> Row:
    found = [word for word in ("cat", "dog") if rng.random() < 0.5]
    return {"text": _words(rng, *found), "label": found}


def _tagged(rng: random.Random) -> Row:
    """Return words with an animal of one or two words now and then."""
    words, tags = ["the"], ["O"]
    for _ in range(rng.randint(1, 5)):
        kind = rng.random()
        if kind < 0.3:
            words += ["cat", "dog"]
            tags += ["B-PET", "I-PET"]
        elif kind < 0.5:
            words.append("cats.")
            tags.append("B-PACK")
        else:
            words.append(rng.choice(("sat", "ran", "very")))
            tags.append("O")
    return {"words": words, "tags": tags}


def _question(rng: random.Random) -> Row:
    """Return a question of one kind of animal, and a text, often longer than a window, that has both kinds or neither."""
    asked = rng.choice(("good", "bad"))
    filler = [rng.choice(("the", "sat", "ran", "very")) for _ in range(rng.randint(4, 24))]
    answer = {"good": "cat", "bad": "dog"}[asked]
    if rng.random() < 0.3:
        return {"question": asked, "context": " ".join(filler), "answers": []}
    for animal in ("cat", "dog"):
        filler.insert(rng.randrange(len(filler) + 1), animal)
    context = " ".join(filler)
    return {
        "question": asked,
        "context": context,
        "answers": [{"text": answer, "answer_start": context.index(answer)}],
    }


def _as_squad(stem: Path, rows: list[Row]) -> Path:
    path = stem.with_suffix(".json")
    paragraphs = [
        {"context": row["context"], "qas": [{"id": "x", "question": row["question"], "answers": row["answers"]}]}
        for row in rows
    ]
    path.write_text(json.dumps({"version": "v2.0", "data": [{"title": "toy", "paragraphs": paragraphs}]}))
    return path


def _as_conll(stem: Path, rows: list[Row]) -> Path:
    path = stem.with_suffix(".conll")
    lines = ["\n".join(f"{word} x {tag}" for word, tag in zip(row["words"], row["tags"], strict=True)) for row in rows]
    path.write_text("\n\n".join(lines) + "\n")
    return path


_SAYINGS = ("the cat sat very good .", "not dog ran good bad !")


def _sayings(rng: random.Random) -> Row:
    """Return a document that says one of two things several times, so that each word follows from the others."""
    return {"lines": [rng.choice(_SAYINGS)] * rng.randint(2, 4)}


def _as_text(stem: Path, rows: list[Row]) -> Path:
    path = stem.with_suffix(".txt")
    path.write_text("\n\n".join("\n".join(row["lines"]) for row in rows) + "\n")
    return path


TOYS = (
    *(
        Toy(
            name=name,
            problem=None,
            rows=_sayings,
            metric="maskedAccuracy",
            asked="the cat [MASK] very good",
            answer={},
            learning_rate=1e-2,
            spec={"format": "text"},
            served=served,
            write=_as_text,
        )
        # Trained on pairs alone, so tiny a model is at a loss with single texts, which are what is served.
        for name, served in (("masked-lm", 0.9), ("pretraining", 0.4))
    ),
    Toy(
        name="token-classification",
        problem=None,
        rows=_tagged,
        metric="entityF1",
        asked="the cat dog sat very",
        answer={},
        learning_rate=1e-2,
        spec={"format": "conll"},
        head={"layers": 1, "hiddenSize": 64},
        write=_as_conll,
    ),
    Toy(
        name="question-answering",
        problem="unanswerable",
        rows=_question,
        metric="f1",
        asked={
            "question": "bad",
            "context": "the cat sat very very very very very sat sat ran very the very ran dog sat",
        },
        answer={"text": "dog", "start": 67, "end": 70},
        learning_rate=1e-2,
        spec={"format": "squad", "stride": 4},
        write=_as_squad,
    ),
    Toy(
        name="embedding",
        problem=None,
        rows=_alike,
        metric="spearman",
        bar=0.8,  # of two scores, which tie
        asked="the good sat very " * 9,
        answer={},
        spec={"maxScore": 5},
    ),
    Toy(
        name="sentence-pair",
        problem=None,
        rows=_by_the_second,
        metric="accuracy",
        asked={"text": "the bad sat very", "text_pair": "ran good the"},
        answer={"label": "good"},
    ),
    Toy(
        name="sentence-pair",
        problem="regression",
        rows=_number,
        metric="pearson",
        asked={"text": "the bad sat very", "text_pair": "ran good the"},
        answer={},
    ),
    Toy(
        name="sequence-classification",
        problem="multi-label",
        rows=_animals,
        metric="microF1",
        asked="the dog sat cat",
        answer={"labels": ["cat", "dog"]},
        learning_rate=1e-2,
    ),
)


def a_task_job(folder: Path, toy: Toy) -> Object:
    """Return a job of the toy's task on local files below *folder*, with a gate that lets anything pass."""
    job = a_toy_job(folder, epochs=20, batchSize=16, microBatchSize=8, learningRate=toy.learning_rate, dropout=0)
    spec = job["spec"]
    spec["model"] |= {"task": toy.name, "head": toy.head, **({"problem": toy.problem} if toy.problem else {})}
    for name, count, seed in (("train", 160, 1), ("validation", 40, 2)):
        rows = list(_rows(toy, count, seed=seed))
        path = folder / f"{name}.jsonl"
        if toy.write is None:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            path = toy.write(folder / name, rows)
        spec["data"][name] = f"file://{path}"
    spec["data"] |= {"maxSequenceLength": 24, **toy.spec}
    spec["optimize"] = {"methods": ["dynamic"], "engines": ["openvino"]}
    spec["gate"] = {"maxAccuracyDrop": 1, "sizeOnly": True, "minSpeedup": 0.01, "maxSizeRatio": 10}
    return job


def _rows(toy: Toy, count: int, *, seed: int) -> Iterator[Row]:
    rng = random.Random(seed)  # noqa: S311
    return (toy.rows(rng) for _ in range(count))
