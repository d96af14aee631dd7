"""What of a step's gradients travels, and in which arithmetic."""

import pytest
import torch
from support.learning import WORDS, a_state
from torch.testing import assert_close

from bertjob_trainer.gradients import Gradients


class Twins:
    """A group of two whose other process has the same numbers; it keeps what passes."""

    rank, world = 0, 2

    def __init__(self) -> None:
        self.passed: list[torch.Tensor] = []

    def sum(self, tensor: torch.Tensor) -> None:
        """Double."""
        self.passed.append(tensor.clone())
        tensor.mul_(2)

    def broadcast(self, tensor: torch.Tensor, *, source: int = 0) -> None:
        """Leave the tensor."""

    def barrier(self) -> None:
        """Wait for nobody."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_only_rows_of_the_step_travel_and_every_byte_is_counted(dtype: torch.dtype) -> None:
    """All but the words' gradients travel whole, of the words three rows; flags stay exact in half precision."""
    model = a_state(dropout=0.0).model
    words = model.bert.embeddings.word_embeddings.weight
    gradients = Gradients(model, words, num_flags=2, dtype=dtype)
    before = {name: torch.randn_like(each.grad) for name, each in model.named_parameters()}
    for name, each in model.named_parameters():
        each.grad.copy_(before[name])
    rows, twins = torch.tensor([1, 4, 9]), Twins()

    flags = gradients.sum(twins, rows, flags=[1 / 3, 16_777_215.0])

    assert_close(flags, [2 / 3, 33_554_430.0], rtol=1e-7, atol=0)
    dense = sum(each.numel() for each in model.parameters()) - words.numel()
    sizes = {(each.dtype, each.numel()) for each in twins.passed}
    row_size = (dtype, 3 * words.shape[1])
    assert sizes == (
        {row_size, (dtype, dense + 2)} if dtype == torch.float32 else {row_size, (dtype, dense), (torch.float32, 2)}
    )
    assert gradients.sent_bytes == sum(each.nbytes for each in twins.passed)
    rounding = 0.0 if dtype == torch.float32 else 2**-8
    for name, each in model.named_parameters():
        is_words = each is words
        expected = before[name] * (torch.isin(torch.arange(WORDS), rows)[:, None] + 1 if is_words else 2)
        assert_close(each.grad, expected, rtol=rounding, atol=0, msg=name)
