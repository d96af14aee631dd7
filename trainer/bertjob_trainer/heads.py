"""Task heads on BERT. Shapes: B inputs, L tokens, E model width, C classes."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertjob_api.spec import Head
from bertjob_trainer import model
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.dropout import Dropout
from bertjob_trainer.module import Module


class SequenceClassifier(Module):
    """
    One label for each input.

    Without hidden layers, weight names and outputs are those of ``transformers.BertForSequenceClassification``; hidden
    layers add ``head.N.weight`` and ``head.N.bias``.
    """

    def __init__(self, config: BertConfig, *, num_labels: int, head: Head) -> None:
        super().__init__()
        widths = [config.hidden_size, *([head.hidden_size] * head.layers)]
        dropout = config.classifier_dropout if config.classifier_dropout is not None else config.hidden_dropout_prob
        self.bert = model.Bert(config)
        self.head = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.classifier = nn.Linear(widths[-1], num_labels)
        self.dropout = Dropout(dropout)

    def forward(self, ids: Tensor, type_ids: Tensor, mask: Tensor | None) -> Tensor:
        """Return logits ``(B, C)``; arguments as in ``model.Bert``."""
        x = self.dropout(self.bert.pooler(self.bert(ids, type_ids, mask, only_first=True)))
        for layer in self.head:
            x = self.dropout(functional.gelu(layer(x)))
        return self.classifier(x)


def build(config: BertConfig, *, num_labels: int, head: Head, seed: int) -> SequenceClassifier:
    """Return a classifier with random weights that *seed* alone decides."""
    with torch.device("meta"):  # torch would fill every weight once more than needed
        classifier = SequenceClassifier(config, num_labels=num_labels, head=head)
    classifier.to_empty(device="cpu")
    torch.manual_seed(seed)
    model.initialize(classifier, std=config.initializer_range)
    return classifier


def loss_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of logits ``(B, C)`` and class numbers ``(B,)``, summed over the inputs, in fp32."""
    return functional.cross_entropy(logits.float(), labels, reduction="sum")
