"""Tokens without their padding."""

import pytest
import torch
from support.learning import a_state
from torch.testing import assert_close

from bertjob_trainer import attention
from bertjob_trainer.packing import Packing

LENGTHS = torch.tensor([5, 1, 3])
MASK = torch.arange(5) < LENGTHS[:, None]


def test_unpacking_undoes_packing_with_its_gradient() -> None:
    """Tokens come back to their places, padding is 0, and gradients pass tokens only."""
    packing = Packing.of(MASK)
    x = torch.randn(3, 5, 4, dtype=torch.float64, requires_grad=True)

    packed = packing.pack(x)
    wide = packing.unpack(packed)

    assert packed.shape == (9, 4)
    assert_close(packed[packing.firsts], x[:, 0])
    assert_close(wide, x * MASK[..., None])
    assert torch.autograd.gradcheck(packing.pack, (x,))
    assert torch.autograd.gradcheck(packing.unpack, (packed.detach().requires_grad_(),))


def test_padding_changes_neither_outputs_nor_gradients() -> None:
    """Inputs of one token only beside longer ones give what each gives alone, for all tokens and for the first ones."""
    ids = torch.randint(1, 50, (3, 5)) * MASK
    types = torch.zeros_like(ids)
    for reads in ("first", "tokens"):
        both = []
        for batches in (
            ((ids, MASK),),
            tuple((ids[row : row + 1, :length], None) for row, length in enumerate(LENGTHS)),
        ):
            model = a_state(dropout=0.0, reads=reads).model
            outputs = [model(each, types[:1, : each.shape[1]].expand_as(each), mask) for each, mask in batches]
            if reads == "tokens":
                outputs = [
                    output[mask] if mask is not None else output[0]
                    for output, (_, mask) in zip(outputs, batches, strict=True)
                ]
            found = torch.cat(outputs)
            found.square().sum().backward()
            both.append((found.detach(), {name: each.grad for name, each in model.named_parameters()}))

        assert_close(both[0][0], both[1][0])
        for name, gradient in both[0][1].items():
            assert_close(gradient, both[1][1][name], msg=name)


def test_inputs_of_one_token_each_may_be_padded() -> None:
    """As many tokens as inputs, in a batch that is longer: first tokens and all tokens are the same then."""
    model = a_state(dropout=0.0).model
    ids = torch.tensor([[7, 0, 0], [8, 0, 0]])

    padded = model(ids, torch.zeros_like(ids), ids != 0)

    assert_close(padded, model(ids[:, :1], torch.zeros_like(ids[:, :1]), None))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
def test_attention_without_padding_is_that_with_it() -> None:
    """The way that GPUs take gives the values and gradients of the padded one."""
    packing = Packing.of(MASK)
    tokens = [torch.randn(9, 8, requires_grad=True) for _ in range(3)]

    q, k, v = (packing.unpack(each).unflatten(-1, (2, 4)).transpose(1, 2) for each in tokens)
    padded = attention.attend(q, k, v, mask=MASK[:, None, None, :], dropout=0.0, share=(0, 1))
    expected = packing.pack(padded.transpose(1, 2).flatten(2))
    found = attention.attend_packed(*tokens, packing=packing, heads=2, dropout=0.0)

    assert_close(found, expected)
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), tokens),
        torch.autograd.grad(expected.square().sum(), tokens),
        strict=True,
    ):
        assert_close(one, other)
