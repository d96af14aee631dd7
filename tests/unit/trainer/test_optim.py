"""Learning rate and parameter groups."""

import os
import subprocess
import sys

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


def test_steps_are_those_of_torch_to_the_last_bit() -> None:
    """Ten steps of a model with both kinds of parameters, one without a gradient, leave weights and moments as torch's AdamW does."""
    ours, theirs = ({"a.weight": _parameter(0), "a.bias": _parameter(1), "b.weight": _parameter(2)} for _ in range(2))
    mine = optim.adamw(ours.items(), weight_decay=0.1)
    groups = [
        {"params": [theirs["a.weight"], theirs["b.weight"]], "weight_decay": 0.1},
        {"params": [theirs["a.bias"]], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, lr=0.0, betas=optim.BETAS, eps=optim.EPSILON, fused=True)
    for step in range(10):
        for optimizer, parameters in ((mine, ours), (reference, theirs)):
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 / (step + 1)
            for name in ("a.weight", "a.bias"):
                parameters[name].grad = torch.full((3, 5), 0.5) * parameters[name].detach().sin() + step
            optimizer.step()

    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for name in ("a.weight", "a.bias"):
        moments = mine.state[ours[name]]
        assert all(torch.equal(moments[kind], reference.state[theirs[name]][kind]) for kind in moments)
    assert mine.state[ours["b.weight"]]["step"] == 0


def test_training_starts_without_torchs_compiler() -> None:
    """Neither model nor optimizer loads ``torch._dynamo``, which would take seconds of each worker's start."""
    program = (
        "import sys, torch\n"
        "from bertjob_api.spec import Head\n"
        "from bertjob_trainer import heads, process\n"
        "from bertjob_trainer.bert_config import BertConfig\n"
        "from bertjob_trainer.state import TrainState\n"
        f"model = heads.build(BertConfig.from_dict({CONFIG!r}), num_labels=2, head=Head(), seed=1)\n"
        "state = TrainState.start(model, weight_decay=0.1)\n"
        "state.model(ids := torch.ones((1, 3), dtype=int), ids, ids.bool()).sum().backward()\n"
        "state.optimizer.step()\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def _parameter(seed: int) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.randn(3, 5, generator=torch.Generator().manual_seed(seed)))
