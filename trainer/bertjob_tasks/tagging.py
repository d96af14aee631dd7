"""
A tag for each word, and from the tags the spans that they mark, such as names of people and places.

A word's tag is that of its first token; the others have no target. Words that do not fit into the model are outside.
Source: Devlin et al. 2018, 5.3. Shapes: N sentences, L tokens of one, C tags.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bertjob_api.spec import Data
from bertjob_tasks import classification, columns, entities, metrics, readers, rows, words
from bertjob_tasks import labels as task_labels
from bertjob_tasks.encoding import Encoded, Encoder
from bertjob_tasks.errors import Place
from bertjob_tasks.readers import refuse_unknown
from bertjob_tasks.task import IGNORED, Answer, Array, Asked, Column, Features, Task, Windows, is_finite_like


@dataclass(frozen=True, slots=True)
class Sentence:
    """Tagged words."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Gold:
    """What the tags of held-out sentences are compared with."""

    labels: tuple[str, ...]
    tags: tuple[tuple[str, ...], ...]
    """(N,) of each sentence."""


class Tagging(Task[Sentence]):
    """Token classification; judged by the F1 of whole spans. Statistics of a sentence: spans hit, predicted, and expected."""

    name = "token-classification"
    reads = "tokens"
    metric = "entityF1"
    architecture = "BertForTokenClassification"
    takes_words = True
    outputs: ClassVar = {"entities": "BYTES"}

    def read(self, path: Path, data: Data, *, labels: Sequence[str] | None) -> Iterator[Sentence]:
        """Yield the sentences of CoNLL files, or of rows with lists of words and tags."""
        in_file = data.format == "conll"
        word_column = rows.WORDS if in_file else data.columns.text
        tag_column = rows.TAGS if in_file else data.columns.label

        def parse(row: Mapping[str, Any], place: Place) -> Sentence:
            found, tags = columns.word_tags(row, place, words=word_column, tags=tag_column)
            refuse_unknown(tags, labels, place)
            return Sentence(found, tags, place)

        return readers.read(path, data, parse, formats=rows.TAGGED)

    def discover(self, examples: Iterable[Sentence]) -> tuple[str, ...]:
        """Return the sorted tags."""
        return task_labels.distinct(tag for example in examples for tag in example.tags)

    def encode(self, examples: Sequence[Sentence], labels: Sequence[str], *, encoder: Encoder) -> Features:
        """Return token ids, and the tag's number for each token that begins a word."""
        inputs = encoder.encode_words([example.words for example in examples])
        number = {label: index for index, label in enumerate(labels)}
        targets = [
            np.array([IGNORED if word < 0 else number[example.tags[word]] for word in _words(item)], dtype=np.int64)
            for item, example in zip(inputs, examples, strict=True)
        ]
        gold = Gold(tuple(labels), tuple(example.tags for example in examples))
        return Features(tuple(inputs), np.concatenate(targets), gold)

    def asked(self, example: Sentence) -> Asked:
        """Return the words as they are: cut from a joined text they could be others."""
        return example.words

    def encode_asked(self, items: Sequence[Asked], *, encoder: Encoder) -> list[Windows]:
        """Return the token ids of texts, cut into words, or of words."""
        encoded = encoder.encode_words([tuple(word.text for word in _cut(item)) for item in items])
        return [(item,) for item in encoded]

    def reduce(self, outputs: Sequence[Array], tokens: Sequence[Encoded]) -> tuple[int, ...]:
        """Return the tag's number for each token."""
        del tokens
        return tuple(outputs[0].argmax(axis=-1).tolist())

    def statistics(self, features: Features, answers: Sequence[float]) -> Array:
        """Return how many spans are hit, predicted and expected, (N, 3)."""
        gold: Gold = features.gold
        found = zip(_tags(features, answers), gold.tags, strict=True)
        return np.array([entities.counts(predicted, expected) for predicted, expected in found], dtype=np.float64)

    def combine(self, means: Array) -> Array:
        """Return the F1."""
        return metrics.f1(means[..., 0], means[..., 1] + means[..., 2])

    def scores(self, features: Features, answers: Sequence[float]) -> dict[str, float]:
        """Return ``entityF1``, ``precision`` and ``recall`` of spans, and the ``wordAccuracy`` of tags."""
        sums = self.statistics(features, answers).sum(axis=0)
        gold: Gold = features.gold
        pairs = zip(_tags(features, answers), gold.tags, strict=True)
        right = [a == b for predicted, expected in pairs for a, b in zip(predicted, expected, strict=True)]
        return {
            "entityF1": float(self.combine(sums)),
            "precision": float(sums[0] / max(1.0, sums[1])),
            "recall": float(sums[0] / max(1.0, sums[2])),
            "wordAccuracy": float(np.mean(right)),
        }

    def decode(
        self, outputs: Sequence[Array], tokens: Windows, asked: Asked, *, labels: Sequence[str], with_scores: bool
    ) -> Answer:
        """Return ``entities``, each with its characters in the text (of words: joined by spaces); with scores also ``words``."""
        chances, cut = classification.softmax(outputs[0]), _cut(asked)
        text = asked if isinstance(asked, str) else " ".join(asked)
        tags, sure = [entities.OUTSIDE] * len(cut), [0.0] * len(cut)
        for token, word in enumerate(_words(tokens[0])):
            if word >= 0:
                top = int(chances[token].argmax())
                tags[word], sure[word] = labels[top], float(chances[token, top])
        found = [
            {
                "label": span.kind,
                "text": text[cut[span.start].start : cut[span.end - 1].end],
                "start": cut[span.start].start,
                "end": cut[span.end - 1].end,
                "score": float(np.mean(sure[span.start : span.end])),
            }
            for span in entities.spans(tags)
        ]
        if not with_scores:
            return {"entities": found}
        parts = zip(cut, tags, sure, strict=True)
        return {
            "entities": found,
            "words": [{"text": word.text, "label": tag, "score": score} for word, tag, score in parts],
        }

    def columns(self, answers: Sequence[Answer], *, labels: Sequence[str]) -> Mapping[str, Column]:
        """Return ``entities``, a JSON list for each text."""
        del labels
        return {"entities": ("BYTES", [len(answers)], [columns.as_json(item["entities"]) for item in answers])}

    def same(self, recorded: Array, got: Array, *, tolerance: float) -> bool:
        """Return whether every tag's probability at every token is within *tolerance*."""
        if not is_finite_like(recorded, got):
            return False
        return bool(np.abs(classification.softmax(got) - classification.softmax(recorded)).max() <= tolerance)


def _words(item: Encoded) -> list[int]:
    assert item.words is not None, "words are encoded as words"
    found: list[int] = item.words.tolist()
    return found


def _tags(features: Features, answers: Sequence[float]) -> Iterator[list[str]]:
    """Yield the predicted tags of each sentence's words."""
    gold: Gold = features.gold
    start = 0
    for item, expected in zip(features.inputs, gold.tags, strict=True):
        tags = [entities.OUTSIDE] * len(expected)
        for token, word in enumerate(_words(item), start=start):
            if word >= 0:
                tags[word] = gold.labels[int(answers[token])]
        start += len(item.ids)
        yield tags


def _cut(asked: Asked) -> list[words.Word]:
    """Return the words of a text, or given words with their places in the text that they make, joined by spaces."""
    if isinstance(asked, str):
        return words.split(asked)
    found, start = [], 0
    for word in asked:
        found.append(words.Word(word, start, start + len(word)))
        start += len(word) + 1
    return found
