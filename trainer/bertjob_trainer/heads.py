"""Task heads on BERT. Shapes: B inputs, L tokens, E model width, C classes."""

import itertools
from collections.abc import Mapping
from typing import Final, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertjob_api.spec import Head
from bertjob_tasks.task import Reads
from bertjob_trainer import model
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.dropout import Dropout
from bertjob_trainer.module import Module, Unfilled

PADDED: Final = -10000.0
"""Logit of padding; finite, and as good as never. Source: google-research/bert, modeling.py."""


class SequenceClassifier(Module):
    """
    Outputs for each input.

    Without hidden layers, weight names and outputs are those of ``transformers.BertForSequenceClassification``; hidden
    layers add ``head.N.weight`` and ``head.N.bias``.
    """

    def __init__(self, config: BertConfig, *, num_labels: int, head: Head) -> None:
        super().__init__()
        self.bert = model.Bert(config)
        self.width = num_labels
        self.head, self.classifier = _layers(config, num_labels=num_labels, head=head)
        self.dropout = Dropout(_dropout(config))

    def forward(self, ids: Tensor, type_ids: Tensor, mask: Tensor | None) -> Tensor:
        """Return logits ``(B, C)``; arguments as in ``model.Bert``."""
        x = self.dropout(self.bert.pooler(self.bert(ids, type_ids, mask, only_first=True)))
        for layer in self.head:
            x = self.dropout(functional.gelu(layer(x)))
        return self.classifier(x)


class TokenClassifier(Module):
    """
    Outputs for each token.

    Without hidden layers, weight names and outputs are those of ``transformers.BertForTokenClassification``.
    """

    def __init__(self, config: BertConfig, *, num_labels: int, head: Head) -> None:
        super().__init__()
        self.bert = model.Bert(config, with_pooler=False)
        self.width = num_labels
        self.head, self.classifier = _layers(config, num_labels=num_labels, head=head)
        self.dropout = Dropout(_dropout(config))

    def forward(self, ids: Tensor, type_ids: Tensor, mask: Tensor | None) -> Tensor:
        """Return logits ``(B, L, C)``; arguments as in ``model.Bert``."""
        x = self.dropout(self.bert(ids, type_ids, mask))
        for layer in self.head:
            x = self.dropout(functional.gelu(layer(x)))
        return self.classifier(x)


class SpanMarker(Module):
    """
    For each token, whether a span begins there and whether it ends there.

    Without hidden layers, weight names and outputs are those of ``transformers.BertForQuestionAnswering``.
    """

    def __init__(self, config: BertConfig, *, num_labels: int, head: Head) -> None:
        super().__init__()
        self.bert = model.Bert(config, with_pooler=False)
        self.width = num_labels
        self.head, self.qa_outputs = _layers(config, num_labels=num_labels, head=head)
        self.dropout = Dropout(_dropout(config))

    def forward(self, ids: Tensor, type_ids: Tensor, mask: Tensor | None) -> Tensor:
        """Return logits ``(B, L, 2)``, ``PADDED`` at padding: a span's ends are chosen among all tokens of its row."""
        x = self.bert(ids, type_ids, mask)
        for layer in self.head:
            x = self.dropout(functional.gelu(layer(x)))
        logits = self.qa_outputs(x)
        return logits if mask is None else logits.masked_fill(~mask[:, :, None], PADDED)


class SentenceEmbedder(Module):
    """Vectors of length 1; weight names are those of ``transformers.BertModel`` without its pooler."""

    only_first = False

    def __init__(self, config: BertConfig, *, num_labels: int, head: Head) -> None:
        del num_labels, head  # the vector is all there is
        super().__init__()
        self.bert = model.Bert(config, with_pooler=False)
        self.width = config.hidden_size

    def forward(self, ids: Tensor, type_ids: Tensor, mask: Tensor | None) -> Tensor:
        """Return vectors ``(B, E)``; in training ``(B, 2, E)`` of rows that hold two texts, told apart by token types."""
        if not self.training:
            return self._vectors(ids, mask)
        kept = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
        both = _apart(ids, kept & (type_ids == 0), kept & (type_ids == 1))
        return self._vectors(*both).unflatten(0, (2, -1)).transpose(0, 1)

    def _vectors(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        x = self.bert(ids, torch.zeros_like(ids), mask, only_first=self.only_first).float()
        if not self.only_first and mask is not None:
            x = x * mask[:, :, None]
        return functional.normalize(x.sum(1), dim=-1)  # the mean has the same direction


class FirstEmbedder(SentenceEmbedder):
    """The same of the first token's vector alone."""

    only_first = True


def _apart(ids: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return ids and mask ``(2 * B, longest)``, the first texts' rows before the second ones'; each text's tokens adjoin."""
    sizes = torch.cat([first.sum(1), second.sum(1)])
    starts = torch.cat([torch.zeros_like(sizes[: len(ids)]), sizes[: len(ids)]])
    steps = torch.arange(int(sizes.max()), device=ids.device)
    places = (starts[:, None] + steps).clamp(max=ids.shape[1] - 1)
    return ids.repeat(2, 1).gather(1, places), steps < sizes[:, None]


Model: TypeAlias = SequenceClassifier | TokenClassifier | SpanMarker | SentenceEmbedder
_HEADS: Final[Mapping[Reads, type[Model]]] = {
    "first": SequenceClassifier,
    "tokens": TokenClassifier,
    "spans": SpanMarker,
    "mean": SentenceEmbedder,
    "cls": FirstEmbedder,
}


def build(config: BertConfig, *, num_labels: int, head: Head, seed: int, reads: Reads = "first") -> Model:
    """Return a model with random weights that *seed* alone decides; *reads*: what of the encoder its head reads."""
    with Unfilled():
        classifier = _HEADS[reads](config, num_labels=num_labels, head=head)
    torch.manual_seed(seed)
    model.initialize(classifier, std=config.initializer_range)
    return classifier


def _layers(config: BertConfig, *, num_labels: int, head: Head) -> tuple[nn.ModuleList, nn.Linear]:
    """Return the hidden layers of the head, and its output."""
    widths = [config.hidden_size, *([head.hidden_size] * head.layers)]
    return nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths)), nn.Linear(widths[-1], num_labels)


def _dropout(config: BertConfig) -> float:
    return config.classifier_dropout if config.classifier_dropout is not None else config.hidden_dropout_prob
