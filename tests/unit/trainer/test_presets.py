"""Models that start from a named size."""

from pathlib import Path

import pytest
import torch
from support.models import VOCAB, a_vocab_folder
from support.workers import a_toy_job, toy_rows
from transformers import AutoConfig, AutoTokenizer

from bertjob_api.job import BertJob, parse_job
from bertjob_tasks.encoding import Encoder
from bertjob_tasks.errors import ModelFolderError, UnsupportedError
from bertjob_trainer import bert_config, inputs
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.building import build_model
from bertjob_trainer.inputs import Paths


def a_preset_job(folder: Path, name: str = "bert-tiny", **vocabulary: object) -> BertJob:
    job = a_toy_job(folder)
    job["spec"]["model"] |= {"source": f"preset://{name}", **({"vocabulary": vocabulary} if vocabulary else {})}
    return parse_job(job, local=True)


def fetched(job: BertJob, scratch: Path) -> Paths:
    inputs.fetch(job, scratch)
    return inputs.locate(job, scratch)


def test_vocabulary_is_learnt_and_the_weights_are_the_seeds(tmp_path: Path) -> None:
    """Two pods make the same folder and the same weights from the same texts, and transformers reads texts alike."""
    job = a_preset_job(tmp_path)
    found = [fetched(job, tmp_path / name) for name in ("a", "b")]
    assert inputs.digests(found[0], job.spec.data) == inputs.digests(found[1], job.spec.data)

    config = BertConfig.from_dict(bert_config.read(found[0].model))
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (2, 128, 2)
    examples = inputs.encode(found[0], job, config=config, folder=tmp_path / "encoded")
    models = [build_model(job, paths, examples, config=config) for paths in found]
    states = [model.state_dict() for model in models]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])

    text = toy_rows(1, seed=9)[0]["text"]
    ours = Encoder.from_folder(found[0].model, max_length=16).encode([text])[0].ids.tolist()
    assert AutoTokenizer.from_pretrained(found[0].model)(text)["input_ids"] == ours
    assert 1 not in ours  # no [UNK]
    assert AutoConfig.from_pretrained(found[0].model).vocab_size == config.vocab_size


def test_nothing_is_learnt_twice(tmp_path: Path) -> None:
    """A second start finds the folder made, other texts make it anew."""
    job = a_preset_job(tmp_path)
    vocab = fetched(job, tmp_path / "scratch").model / "vocab.txt"
    before = vocab.stat().st_mtime_ns
    fetched(job, tmp_path / "scratch")
    assert vocab.stat().st_mtime_ns == before
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write('{"text": "zebra zebra zebra", "label": "good"}\n')
    fetched(job, tmp_path / "scratch")
    assert "zebra" in vocab.read_text().split("\n")


@pytest.mark.parametrize("file", ["vocab.txt", ""], ids=["file", "folder"])
def test_given_vocabulary_is_taken(file: str, tmp_path: Path) -> None:
    """A file or a folder with a tokenizer is used as it is."""
    (tmp_path / "given").mkdir()
    a_vocab_folder(tmp_path / "given")
    job = a_preset_job(tmp_path, "bert-mini", source=f"file://{tmp_path}/given/{file}".rstrip("/"))
    model = fetched(job, tmp_path / "scratch").model
    assert (model / "vocab.txt").read_text().split() == VOCAB
    assert bert_config.read(model)["vocab_size"] == len(VOCAB)
    assert bert_config.read(model)["hidden_size"] == 256


def test_what_is_no_vocabulary_is_refused(tmp_path: Path) -> None:
    """A file that is no tokenizer, and a size that nobody published, are named with their field."""
    with pytest.raises(
        ModelFolderError, match=r"spec\.model\.vocabulary\.source: got train\.jsonl, expected vocab\.txt"
    ):
        fetched(a_preset_job(tmp_path, source=f"file://{tmp_path}/train.jsonl"), tmp_path / "scratch")
    with pytest.raises(UnsupportedError, match="bert-huge"):
        fetched(a_preset_job(tmp_path, "bert-huge"), tmp_path / "scratch")


def test_published_sizes() -> None:
    """BERT-large is 24 layers of 1024 with 16 heads (Devlin et al. 2018); every preset is a multiple of 64 wide."""
    large = bert_config.preset("bert-large", vocab_size=30_522)
    assert (large.num_hidden_layers, large.hidden_size, large.num_attention_heads) == (24, 1024, 16)
    assert (large.intermediate_size, large.max_position_embeddings) == (4096, 512)
