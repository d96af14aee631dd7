"""Losses against those of transformers."""

import pytest
import torch
from torch.nn import functional
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


def test_losses_of_pairs_are_what_they_say() -> None:
    """The cosine's squared error, and the cross-entropy of the own partner among those of the micro-batch."""
    vectors = functional.normalize(torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    targets = torch.tensor([1.0, 0.0, 0.5])
    cosines = functional.cosine_similarity(vectors[:, 0], vectors[:, 1])
    everyone = functional.cosine_similarity(vectors[:, None, 0], vectors[None, :, 1], dim=-1)

    assert float(losses.cosine(vectors, targets)) == pytest.approx(float(((cosines - targets) ** 2).sum()), rel=1e-5)
    expected = -(20 * everyone).log_softmax(dim=1).diagonal().sum()
    assert float(losses.contrastive(vectors, targets)) == pytest.approx(float(expected), rel=1e-5)


def test_loss_of_tokens_is_that_of_transformers() -> None:
    """Tokens without a target do not count, neither in the sum nor in what it is divided by."""
    torch.manual_seed(0)
    model = BertForTokenClassification(BertConfig(**SIZES, num_labels=3)).eval()
    labels = torch.tensor([[IGNORED, 0, 2, IGNORED], [IGNORED, 1, IGNORED, IGNORED]])
    with torch.no_grad():
        expected = model(input_ids=IDS, labels=labels)

    got = losses.classes(expected.logits, labels) / 3

    assert float(got) == pytest.approx(float(expected.loss), rel=1e-6)
