"""Losses against those of transformers."""

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification

from bertjob_tasks.task import IGNORED
from bertjob_trainer import losses

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 30}
IDS = torch.tensor([[2, 7, 8, 3], [2, 9, 9, 3]])


@pytest.mark.parametrize(
    ("kind", "problem", "labels"),
    [
        ("classes", "single_label_classification", torch.tensor([0, 2])),
        ("flags", "multi_label_classification", torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])),
        ("values", "regression", torch.tensor([[0.5, 1.0, 2.0], [1.0, 0.0, -1.0]])),
    ],
)
def test_loss_of_texts_is_that_of_transformers(kind: losses.Loss, problem: str, labels: torch.Tensor) -> None:
    """The sum over the inputs is their mean loss times their number."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(**SIZES, num_labels=3, problem_type=problem)).eval()
    with torch.no_grad():
        expected = model(input_ids=IDS, labels=labels)

    got = losses.OF[kind](expected.logits, labels) / 2

    assert float(got) == pytest.approx(float(expected.loss), rel=1e-6)


def test_loss_of_tokens_is_that_of_transformers() -> None:
    """Tokens without a target do not count, neither in the sum nor in what it is divided by."""
    torch.manual_seed(0)
    model = BertForTokenClassification(BertConfig(**SIZES, num_labels=3)).eval()
    labels = torch.tensor([[IGNORED, 0, 2, IGNORED], [IGNORED, 1, IGNORED, IGNORED]])
    with torch.no_grad():
        expected = model(input_ids=IDS, labels=labels)

    got = losses.classes(expected.logits, labels) / 3

    assert float(got) == pytest.approx(float(expected.loss), rel=1e-6)
