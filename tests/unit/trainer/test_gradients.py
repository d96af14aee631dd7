"""What of a step's gradients travels, and in which arithmetic."""

import pytest
import torch
from support.learning import WORDS, a_state
from torch import nn
from torch.testing import assert_close

from bertjob_trainer.buckets import Buckets
from bertjob_trainer.gradients import Gradients
from bertjob_trainer.group import Made, Underway


class Twins:
    """A group of two whose other process has the same numbers; it keeps what passes."""

    rank, world = 0, 2

    def __init__(self) -> None:
        self.passed: list[torch.Tensor] = []

    def sum(self, tensor: torch.Tensor) -> None:
        """Double."""
        self.passed.append(tensor.clone())
        tensor.mul_(2)

    def start_sum(self, tensor: torch.Tensor) -> Underway:
        """Sum at once."""
        self.sum(tensor)
        return Made()

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
    assert sizes == {row_size, (dtype, dense), (torch.float32, 2)}
    assert gradients.sent_bytes == sum(each.nbytes for each in twins.passed)
    rounding = 0.0 if dtype == torch.float32 else 2**-8
    for name, each in model.named_parameters():
        is_words = each is words
        expected = before[name] * (torch.isin(torch.arange(WORDS), rows)[:, None] + 1 if is_words else 2)
        assert_close(each.grad, expected, rtol=rounding, atol=0, msg=name)


def test_gradients_leave_while_others_are_computed() -> None:
    """Of three layers the last one's sum starts first, before the first one has a gradient; one that is not used leaves at the end."""
    first, second, third, unused = (nn.Parameter(torch.full((4,), 2.0)) for _ in range(4))
    flat, twins = torch.zeros(16), Twins()
    for number, each in enumerate((unused, first, second, third)):
        each.grad = flat[4 * number : 4 * number + 4]
    buckets = Buckets(flat, (unused, first, second, third), bucket_numbers=4)

    with buckets.departing(twins):
        (first * second * third).sum().backward()
    sent_early = len(twins.passed)
    buckets.depart(twins)
    num_bytes = buckets.arrive()
    (first * second).sum().backward()  # of the next step: nothing leaves before it is its last pass

    assert sent_early == 3
    assert [each.tolist() for each in twins.passed] == [[4.0] * 4] * 3 + [[0.0] * 4]
    assert num_bytes == flat.nbytes
    assert flat.tolist() == [0.0] * 4 + [10.0] * 8 + [8.0] * 4


def test_a_bucket_waits_for_all_its_parameters_and_for_those_before_it() -> None:
    """Buckets leave in one order, whatever order gradients come in, so that all processes sum the same ones together."""
    parameters = [nn.Parameter(torch.full((2,), float(number + 1))) for number in range(4)]
    flat, twins = torch.zeros(8), Twins()
    for number, each in enumerate(parameters):
        each.grad = flat[2 * number : 2 * number + 2]
    buckets = Buckets(flat, parameters, bucket_numbers=4)

    with buckets.departing(twins):
        # The first two are ready before the last two.
        parameters[0].sum().mul(parameters[1].sum()).backward()
        early = len(twins.passed)
        parameters[2].sum().mul(parameters[3].sum()).backward()

    assert early == 0
    assert [each.tolist() for each in twins.passed] == [[8.0, 8.0, 6.0, 6.0], [4.0, 4.0, 2.0, 2.0]]
