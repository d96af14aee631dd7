"""Models that fill in hidden tokens, against transformers, and how they are trained."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from support.learning import an_order
from support.models import CONFIG
from torch.nn import functional

from bertjob_tasks.encoding import Encoded
from bertjob_tasks.masking import Pieces
from bertjob_trainer import language_evaluation, losses, masked_heads, weights
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.data import Dataset
from bertjob_trainer.gradients import Gradients, sparse_words
from bertjob_trainer.group import Alone
from bertjob_trainer.hiding import Hiding, StepData
from bertjob_trainer.machine import Machine

WORDS = 40
CPU = torch.device("cpu")
ARCHITECTURES: tuple[Any, ...] = (
    (False, transformers.BertForMaskedLM),
    (True, transformers.BertForPreTraining),
)


def a_config(*, dropout: float = 0.0) -> BertConfig:
    return BertConfig.from_dict({**CONFIG, "vocab_size": WORDS}).with_dropout(dropout)


def a_hiding(*, with_order: bool) -> Hiding:
    ids = np.arange(WORDS)
    pieces = Pieces(mask_id=4, is_special=ids < 5, is_inner=ids % 5 == 4)
    return Hiding(pieces=pieces, rate=0.3, whole_words=False, with_order=with_order)


def pairs(count: int = 24) -> Dataset:
    """Return pairs whose second texts repeat the first ones, or not; what is hidden can be told from its neighbours."""
    rng, inputs, orders = np.random.default_rng(1), [], []
    for _ in range(count):
        first, order = rng.integers(5, WORDS, size=int(rng.integers(3, 6))), int(rng.integers(0, 2))
        second = first if order == 0 else rng.integers(5, WORDS, size=len(first))
        ids = np.concatenate([[2], first, [3], second, [3]]).astype(np.int32)
        inputs.append(Encoded(ids, np.repeat([0, 1], [len(first) + 2, len(first) + 1]).astype(np.int32)))
        orders.append(order)
    return Dataset.of(inputs, np.array(orders), pad_id=0)


def step_data(data: Dataset, *, with_order: bool, step: int = 0) -> StepData:
    micro_batches = an_order(data, epochs=9).micro_batches(step)
    return StepData(data, micro_batches, hiding=a_hiding(with_order=with_order), key=(3, 0, step))


@pytest.mark.parametrize(("with_order", "theirs"), ARCHITECTURES)
def test_weights_and_outputs_are_those_of_transformers(with_order: bool, theirs: Any, tmp_path: Path) -> None:
    """Their class loads what we export without a weight missing, gives the same logits, and we load what they export."""
    ours = masked_heads.build(a_config(), seed=1, with_order=with_order).eval()
    reference = theirs(transformers.BertConfig(**a_config().to_dict())).eval()
    missing = reference.load_state_dict(ours.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert set(missing.missing_keys) <= {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    reference.tie_weights()

    batch = step_data(pairs(), with_order=with_order).batch(0, device=CPU)
    with torch.no_grad():
        got = ours(batch.ids, batch.type_ids, batch.mask, batch.chosen)
        mask = None if batch.mask is None else batch.mask.long()
        expected = reference(batch.ids.long(), attention_mask=mask, token_type_ids=batch.type_ids.long())
    words = (expected.prediction_logits if with_order else expected.logits).flatten(0, 1)[batch.chosen]
    torch.testing.assert_close(got[0] if with_order else got, words, atol=1e-5, rtol=1e-5)
    if with_order:
        torch.testing.assert_close(got[1], expected.seq_relationship_logits, atol=1e-5, rtol=1e-5)

    reference.save_pretrained(tmp_path)
    other = masked_heads.build(a_config(), seed=2, with_order=with_order)
    assert weights.load(other, tmp_path, with_head=True) == ()
    assert all(torch.equal(tensor, ours.state_dict()[name]) for name, tensor in other.state_dict().items())


def test_loss_and_gradient_are_those_of_transformers() -> None:
    """Word vectors get the gradients of both their uses, and nothing else differs from transformers' loss over all tokens."""
    ours = masked_heads.build(a_config(), seed=1, with_order=True).train()
    reference = transformers.BertForPreTraining(transformers.BertConfig(**a_config().to_dict())).train()
    reference.load_state_dict(ours.state_dict(), strict=False)
    reference.tie_weights()
    inputs = step_data(pairs(), with_order=True)
    gradients = Gradients(ours, sparse_words(ours), num_flags=1)
    for _ in range(2):  # the second time over gradients that are there
        gradients.clear(torch.zeros(0, dtype=torch.int64))
        batch = inputs.batch(1, device=CPU)
        assert isinstance(batch.labels, tuple)
        assert batch.chosen is not None
        words, order = losses.words_and_order(
            ours(batch.ids, batch.type_ids, batch.mask, batch.chosen), (batch.labels[0], batch.labels[1])
        )
        (words / len(batch.labels[0]) + order / len(batch.labels[1])).backward()

    labels = torch.full(batch.ids.shape, -100).flatten()
    labels[batch.chosen] = batch.labels[0]
    mask = None if batch.mask is None else batch.mask.long()
    expected = reference(
        batch.ids.long(),
        attention_mask=mask,
        token_type_ids=batch.type_ids.long(),
        labels=labels.view(batch.ids.shape),
        next_sentence_label=batch.labels[1],
    )
    expected.loss.backward()
    theirs = dict(reference.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, atol=1e-5, rtol=1e-4, msg=name)
    norm = gradients.clip(torch.zeros(0, dtype=torch.int64), max_norm=1e9)
    assert norm == pytest.approx(float(torch.stack([p.grad.norm() for p in theirs.values()]).norm()), rel=1e-4)


def test_what_is_hidden_depends_on_the_step_alone() -> None:
    """Any process sees the same micro-batch, another step hides other tokens, and all targets of the step are counted."""
    data = pairs()
    first, again, later = (step_data(data, with_order=True, step=step) for step in (0, 0, 3))
    one, two = first.batch(2, device=CPU), again.batch(2, device=CPU)
    assert torch.equal(one.ids, two.ids)
    assert isinstance(one.labels, tuple)
    chosen = sum(len(first.batch(index, device=CPU).labels[0]) for index in range(4))
    assert first.num_targets == (chosen, 8)
    assert not torch.equal(first.batch(0, device=CPU).ids, later.batch(0, device=CPU).ids)
    flat = one.ids.flatten()
    assert one.chosen is not None
    changed = flat[one.chosen] != one.labels[0]
    assert changed.any()


def test_evaluation_adds_up() -> None:
    """Held-out accuracies and losses are those of all hidden tokens and all pairs, computed one by one."""
    data, orders = pairs(20), np.asarray(pairs(20).labels)
    rng = np.random.default_rng(2)
    targets = np.where((rng.random(len(data.ids)) < 0.2) & (data.ids >= 5), data.ids, -100).astype(np.int64)
    held = Dataset(data.ids, data.type_ids, data.offsets, targets, pad_id=0, per_token=True)
    model = masked_heads.build(a_config(), seed=4, with_order=True)
    machine = Machine(group=Alone(), device=CPU, dtype=torch.float32)
    found = language_evaluation.filled(model, held, orders, machine).scores

    hits, loss, count = 0, 0.0, 0
    for sample in range(len(held)):
        batch = held.batch(np.array([sample]), device=CPU)
        assert isinstance(batch.labels, torch.Tensor)
        places = torch.nonzero(batch.labels.flatten() != -100).flatten()
        with torch.no_grad():
            words, _ = model(batch.ids, batch.type_ids, None, places)
        own = batch.labels.flatten()[places]
        hits += int((words.argmax(-1) == own).sum())
        loss += float(functional.cross_entropy(words, own, reduction="sum"))
        count += len(own)
    assert found["maskedAccuracy"] == pytest.approx(hits / count)
    assert found["maskedLoss"] == pytest.approx(loss / count, rel=1e-4)
    assert found["perplexity"] == pytest.approx(np.exp(loss / count), rel=1e-3)
    assert 0.0 <= found["nextSentenceAccuracy"] <= 1.0
    assert found["nextSentenceLoss"] == pytest.approx(np.log(2), abs=0.1)
