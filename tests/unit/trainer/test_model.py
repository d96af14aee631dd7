"""Our BERT against transformers' BERT."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.models import CONFIG, a_model_folder
from transformers import BertConfig as ReferenceConfig
from transformers import BertForQuestionAnswering, BertForSequenceClassification, BertForTokenClassification, BertModel

from bertjob_api.spec import Head
from bertjob_tasks.errors import ModelFolderError, UnsupportedError
from bertjob_tasks.task import IGNORED, Reads
from bertjob_trainer import bert_config, heads, losses, weights
from bertjob_trainer.bert_config import BertConfig

IDS = torch.tensor([[2, 5, 6, 7, 3], [2, 8, 3, 0, 0], [2, 9, 10, 3, 0]])
TYPE_IDS = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0], [0, 0, 1, 1, 0]])
MASK = IDS != 0
LABELS = torch.tensor([0, 2, 1])


def both(**config: Any) -> tuple[heads.SequenceClassifier, Any]:
    """Return our classifier and the reference with the same weights, deterministic."""
    values = {**CONFIG, **config}
    ours = heads.build(BertConfig.from_dict(values), num_labels=3, head=Head(), seed=1)
    theirs = BertForSequenceClassification(ReferenceConfig(**values, num_labels=3))
    loaded = theirs.load_state_dict(ours.state_dict(), strict=True)
    assert not loaded.missing_keys
    return ours.eval(), theirs.eval()


@pytest.mark.parametrize("padded", [True, False])
def test_outputs_and_gradients_equal_the_reference(*, padded: bool) -> None:
    """Logits, and the gradient of every weight, are those of BertForSequenceClassification."""
    ours, theirs = both()
    ids, type_ids, mask = (IDS, TYPE_IDS, MASK) if padded else (IDS[:, :3], TYPE_IDS[:, :3], None)

    logits = ours(ids, type_ids, mask)
    (losses.classes(logits, LABELS) / 3).backward()
    reference = theirs(
        input_ids=ids,
        token_type_ids=type_ids,
        attention_mask=torch.ones_like(ids) if mask is None else mask.long(),
        labels=LABELS,
    )
    reference.loss.backward()

    torch.testing.assert_close(logits, reference.logits, atol=1e-5, rtol=1e-5)
    expected = {name: weight.grad for name, weight in theirs.named_parameters()}
    assert [name for name, _ in ours.named_parameters()] == list(expected)
    for name, weight in ours.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name], atol=1e-5, rtol=1e-5, msg=name)


def test_tokens_equal_the_reference() -> None:
    """A head on tokens has the weights, logits and gradients of BertForTokenClassification."""
    ours = heads.build(BertConfig.from_dict(CONFIG), num_labels=3, head=Head(), seed=1, reads="tokens").eval()
    theirs = BertForTokenClassification(ReferenceConfig(**CONFIG, num_labels=3)).eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    labels = torch.where(MASK, TYPE_IDS, IGNORED)

    logits = ours(IDS, TYPE_IDS, MASK)
    (losses.classes(logits, labels) / MASK.sum()).backward()
    reference = theirs(input_ids=IDS, token_type_ids=TYPE_IDS, attention_mask=MASK.long(), labels=labels)
    reference.loss.backward()

    torch.testing.assert_close(logits[MASK], reference.logits[MASK], atol=1e-5, rtol=1e-5)
    expected = dict(theirs.named_parameters())
    for name, weight in ours.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name].grad, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("padded", [True, False])
def test_spans_equal_the_reference(*, padded: bool) -> None:
    """A head on spans has the weights, logits and gradients of BertForQuestionAnswering; padding is never a span's end."""
    ours = heads.build(BertConfig.from_dict(CONFIG), num_labels=2, head=Head(), seed=1, reads="spans").eval()
    theirs = BertForQuestionAnswering(ReferenceConfig(**CONFIG, num_labels=2)).eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    ids, type_ids, mask = (IDS, TYPE_IDS, MASK) if padded else (IDS[:1], TYPE_IDS[:1], None)

    logits = ours(ids, type_ids, mask)
    losses.spans(
        logits[:1], torch.tensor([[2, 3]])
    ).backward()  # of the row without padding: transformers scores it too
    reference = theirs(
        input_ids=IDS[:1],
        token_type_ids=TYPE_IDS[:1],
        start_positions=torch.tensor([2]),
        end_positions=torch.tensor([3]),
    )
    reference.loss.backward()

    both_ends = torch.stack([reference.start_logits, reference.end_logits], dim=-1)
    torch.testing.assert_close(logits[:1], both_ends, atol=1e-5, rtol=1e-5)
    assert mask is None or (logits[~mask] == heads.PADDED).all()
    expected = dict(theirs.named_parameters())
    for name, weight in ours.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name].grad, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("reads", ["mean", "cls"])
def test_vectors_are_those_of_the_bare_reference(reads: Reads) -> None:
    """They are pooled hidden states of BertModel, of length 1; a training row of two texts gives the vectors of each."""
    ours = heads.build(BertConfig.from_dict(CONFIG), num_labels=0, head=Head(), seed=1, reads=reads).eval()
    theirs = BertModel(ReferenceConfig(**CONFIG), add_pooling_layer=False).eval()
    theirs.load_state_dict({name.removeprefix("bert."): value for name, value in ours.state_dict().items()})
    with torch.no_grad():
        states = theirs(input_ids=IDS, attention_mask=MASK.long()).last_hidden_state
    kept = MASK[:, :, None] if reads == "mean" else torch.tensor([1, 0, 0, 0, 0])[None, :, None]
    expected = torch.nn.functional.normalize((states * kept).sum(1), dim=-1)

    torch.testing.assert_close(ours(IDS, TYPE_IDS, MASK), expected, atol=1e-5, rtol=1e-5)

    ids = torch.tensor([[2, 5, 6, 7, 3, 2, 8, 3], [2, 8, 3, 2, 9, 10, 3, 0]])
    types = torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1, 0]])
    ours = heads.build(
        BertConfig.from_dict(CONFIG).with_dropout(0.0), num_labels=0, head=Head(), seed=1, reads=reads
    ).train()
    both = ours(ids, types, ids != 0)
    torch.testing.assert_close(both, torch.stack([expected[[0, 1]], expected[[1, 2]]], dim=1), atol=1e-5, rtol=1e-5)


def test_source_with_a_pooler_starts_a_model_without_one(tmp_path: Path) -> None:
    """What the head does not read is left alone, and the encoder's weights are taken."""
    source = a_model_folder(tmp_path, seed=5)
    model = heads.build(BertConfig.from_dict(CONFIG), num_labels=3, head=Head(), seed=1, reads="tokens")

    missing = weights.load(model, source, with_head=False)

    assert set(missing) == {"classifier.weight", "classifier.bias"}


def test_padding_does_not_change_an_output() -> None:
    """An input's logits do not depend on what it is batched with."""
    ours, _ = both()

    together = ours(IDS, TYPE_IDS, MASK)
    alone = ours(IDS[1:2, :3], TYPE_IDS[1:2, :3], None)

    torch.testing.assert_close(together[1:2], alone, atol=1e-6, rtol=1e-5)


def test_dropout_follows_the_seed() -> None:
    """The same seed drops the same units; another seed others."""
    ours, _ = both()
    ours.train()

    def logits(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return ours(IDS, TYPE_IDS, MASK)

    assert torch.equal(logits(1), logits(1))
    assert not torch.equal(logits(1), logits(2))


def test_weights_follow_the_seed() -> None:
    """New weights are a function of the seed alone."""
    config = BertConfig.from_dict(CONFIG)
    first, again, other = (heads.build(config, num_labels=3, head=Head(), seed=seed).state_dict() for seed in (1, 1, 2))

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_hidden_head_layers_are_used() -> None:
    """spec.model.head adds trainable layers of the wanted width."""
    classifier = heads.build(BertConfig.from_dict(CONFIG), num_labels=3, head=Head(layers=2, hidden_size=64), seed=1)

    losses.classes(classifier(IDS, TYPE_IDS, MASK), LABELS).backward()

    assert [tuple(layer.weight.shape) for layer in classifier.head] == [(64, 16), (64, 64)]
    assert all(layer.weight.grad.abs().sum() > 0 for layer in classifier.head)


def test_bare_encoder_loads_and_its_head_starts_random(tmp_path: Path) -> None:
    """Weights of a BertModel without prefix are taken; the classifier keeps the seed's weights."""
    folder = a_model_folder(tmp_path, seed=7)
    classifier = heads.build(BertConfig.from_dict(CONFIG), num_labels=3, head=Head(), seed=1)
    before = classifier.classifier.weight.clone()

    missing = weights.load(classifier, folder, with_head=True)

    source = heads.build(BertConfig.from_dict(CONFIG), num_labels=2, head=Head(), seed=7).bert.state_dict()
    assert missing == ("classifier.weight", "classifier.bias")
    assert torch.equal(classifier.classifier.weight, before)
    assert all(torch.equal(value, source[name]) for name, value in classifier.bert.state_dict().items())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("encoder.layer.1.output.dense.weight"), "lacks 1 weights"),
        (lambda state: state.update({"encoder.layer.9.output.dense.bias": torch.zeros(2)}), "do not match"),
        (lambda state: state.update({"embeddings.LayerNorm.bias": torch.zeros(2)}), "has shape"),
    ],
    ids=["missing", "unknown", "shape"],
)
def test_weights_that_do_not_fit_are_refused(change: Any, words: str, tmp_path: Path) -> None:
    """A weight that is missing, unknown or of another shape is named."""
    folder = a_model_folder(tmp_path)
    classifier = heads.build(BertConfig.from_dict(CONFIG), num_labels=2, head=Head(), seed=1)
    state = dict(classifier.bert.state_dict())
    change(state)
    save_file(state, folder / "model.safetensors")

    with pytest.raises(ModelFolderError, match=words):
        weights.load(classifier, folder, with_head=False)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    """A folder with pytorch_model.bin alone says why it is not loaded."""
    (tmp_path / "pytorch_model.bin").write_bytes(b"")

    with pytest.raises(ModelFolderError, match="pickle"):
        weights.load(torch.nn.Linear(1, 1), tmp_path, with_head=False)


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ({"model_type": "roberta"}, UnsupportedError, "model_type is 'roberta'"),
        ({"hidden_act": "relu"}, UnsupportedError, "hidden_act is 'relu'"),
        ({"position_embedding_type": "relative_key"}, UnsupportedError, "relative_key"),
        ({"is_decoder": True}, UnsupportedError, "is_decoder"),
        ({"hidden_size": None}, ModelFolderError, "lacks hidden_size"),
        ({"hidden_size": "16"}, ModelFolderError, "expected a number"),
        ({"hidden_size": 17}, ModelFolderError, "multiple of the heads"),
    ],
)
def test_config_that_is_not_computed_is_refused(
    values: dict[str, Any], kind: type[Exception], words: str, tmp_path: Path
) -> None:
    """What would give other outputs than its authors meant is refused with the setting's name."""
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, **values}))

    with pytest.raises(kind, match=words):
        BertConfig.from_dict(bert_config.read(tmp_path))
