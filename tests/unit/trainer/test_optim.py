"""Learning rate and parameter groups."""

import pytest
import torch
from support.models import CONFIG
from transformers import get_linear_schedule_with_warmup

from bertjob_api.spec import Head
from bertjob_trainer import heads, optim
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.optim import Schedule, lr_at


@pytest.mark.parametrize(("total", "ratio"), [(10, 0.1), (10, 0.0), (10, 1.0), (57, 0.33), (1, 0.1)])
def test_learning_rate_is_the_reference_schedule(total: int, ratio: float) -> None:
    """Every step's rate is that of transformers' linear schedule."""
    schedule = Schedule(peak=3e-5, total_steps=total, warmup_ratio=ratio)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-5)
    reference = get_linear_schedule_with_warmup(optimizer, int(total * ratio), total)
    expected = []
    for _ in range(total):
        expected.append(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()

    assert [lr_at(step, schedule=schedule) for step in range(total)] == pytest.approx(expected)


def test_biases_and_layer_norms_do_not_decay() -> None:
    """Weight decay pulls on matrices alone."""
    classifier = heads.build(BertConfig.from_dict(CONFIG), num_labels=2, head=Head(), seed=1)

    optimizer = optim.adamw(classifier.named_parameters(), weight_decay=0.5)

    decayed, others = optimizer.param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.5, 0.0)
    assert {parameter.ndim for parameter in decayed["params"]} == {2}
    assert {parameter.ndim for parameter in others["params"]} == {1}
    assert len(decayed["params"]) + len(others["params"]) == len(list(classifier.parameters()))
