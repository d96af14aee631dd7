"""Dropout by shared random numbers."""

import pytest
import torch
from torch.nn import functional

from bertjob_trainer import attention, dropout


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_share_and_scale_are_right(probability: float) -> None:
    """So many elements fall as asked for, independently in all four lanes of a draw, and the mean stays."""
    torch.manual_seed(0)

    factors = dropout.keep_mask(torch.empty(400_001), probability)

    for lane in range(4):
        share = float((factors[lane::4] == 0).double().mean())
        assert share == pytest.approx(probability, abs=5 * (probability * (1 - probability) / 100_000) ** 0.5)
    assert float(factors.double().mean()) == pytest.approx(1.0, abs=0.03)
    assert factors.unique().tolist() == pytest.approx([0.0, 1 / (1 - probability)], rel=1e-3)


def test_lanes_of_one_draw_are_independent() -> None:
    """Whether an element falls says nothing about its neighbours."""
    torch.manual_seed(1)
    fallen = (dropout.keep_mask(torch.empty(100_000, 4), 0.5) == 0).double()

    assert torch.corrcoef(fallen.t()).fill_diagonal_(0.0).abs().max() < 0.02


def test_gradient_flows_where_elements_stayed() -> None:
    """The backward pass applies the same factors."""
    torch.manual_seed(2)
    x = torch.ones(1000, requires_grad=True)

    y = dropout.dropped(x, 0.3)
    y.sum().backward()

    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_none_is_dropped_outside_training() -> None:
    """Evaluation sees every element, and so does probability 0."""
    x = torch.ones(10)

    assert dropout.Dropout(0.5).eval()(x) is x
    assert dropout.Dropout(0.0)(x) is x


@pytest.mark.parametrize("masked", [True, False])
def test_attention_for_dropout_is_torchs_attention(*, masked: bool) -> None:
    """With nothing dropped, our passes give what torch's kernel gives."""
    torch.manual_seed(3)
    q, k, v = torch.randn(2, 3, 1, 4), torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 4)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:, None, None, :] if masked else None

    found = attention.attend_with_dropout(q, k, v, mask=mask, probability=0.0)

    torch.testing.assert_close(found, functional.scaled_dot_product_attention(q, k, v, attn_mask=mask))
