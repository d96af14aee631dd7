"""Linear probes: the solvers against known answers, and a layer that knows the task."""

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from support.models import CONFIG, a_vocab_folder

from bertjob_api.spec import Data, Head, Model
from bertjob_tasks import registry
from bertjob_tasks.encoding import Encoder
from bertjob_trainer import heads
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.data import Dataset
from bertjob_trainer.evaluate import HeldOut
from bertjob_trainer.inputs import Examples
from bertjob_trainer.probe import layers, linear, run
from bertjob_trainer.probe.run import Found


def test_logistic_regression_is_that_of_scikit_learn() -> None:
    """The same penalty on the same features gives the same weights."""
    torch.manual_seed(0)
    x = torch.randn(200, 5) * torch.tensor([1.0, 2.0, 3.0, 0.5, 1.0]) + 1
    targets = (x @ torch.randn(5, 3) + torch.randn(200, 3)).argmax(dim=-1)

    found = linear.fit(x, targets, loss="classes", width=3)

    z = ((x - found.mean) / found.scale).numpy()
    expected = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(z, targets.numpy())
    np.testing.assert_allclose(found.weight.numpy(), expected.coef_.T, atol=2e-3)


def test_ridge_regression_solves_its_equations() -> None:
    """The gradient of the penalized squared error is 0."""
    torch.manual_seed(0)
    x, targets = torch.randn(100, 4) * 3, torch.randn(100, 1)

    found = linear.fit(x, targets, loss="values", width=1)

    z = (x - found.mean) / found.scale
    torch.testing.assert_close(z.T @ (found(x) - targets) + found.weight, torch.zeros(4, 1), atol=1e-3, rtol=0.0)


def test_flags_are_fitted_each_for_itself() -> None:
    """A flag that one feature decides is found, whatever the others do."""
    torch.manual_seed(0)
    x = torch.randn(300, 4)
    targets = (x[:, :2] > 0).float()

    found = linear.fit(x, targets, loss="flags", width=2)

    assert ((found(x) > 0).float() == targets).float().mean() > 0.95


def examples_of(folder: Path, rows: list[str], *, task: str, form: str) -> Examples:
    """Return examples read as training reads them, the same for training and validation."""
    (folder / f"data.{form}").write_text("".join(rows), encoding="utf-8")
    found = registry.of_spec(Model(source="preset://bert-tiny", task=task))  # type: ignore[arg-type]
    data = Data(train="file:///x", validation="file:///x", format=form)  # type: ignore[arg-type]
    read = list(found.read(folder / f"data.{form}", data, labels=None))
    labels, encoder = found.discover(read), Encoder.from_folder(a_vocab_folder(folder), max_length=16)
    features = found.encode(read, labels, encoder=encoder)
    dataset = Dataset.of(features.inputs, features.targets, pad_id=0, per_token=found.reads == "tokens")
    held_out = HeldOut(dataset, features)
    return Examples(task=found, labels=labels, train=dataset, validation=held_out, test=None, hiding=None)


SENTENCES = [
    f'{{"text": "the cat {word} {again} ran", "label": "{word}"}}\n'
    for word in ("good", "bad")
    for again in ("sat", "very")
]
TAGGED = ["cat B-x\nran O\n\n", "the O\ncat B-x\nsat O\n\n", "dog B-x\n\n"]


@pytest.mark.parametrize(
    ("rows", "task", "form"),
    [(SENTENCES, "sequence-classification", "jsonl"), (TAGGED, "token-classification", "conll")],
    ids=["sentences", "words"],
)
def test_every_layer_is_probed(rows: list[str], task: str, form: str, tmp_path: Path) -> None:
    """Words that decide are seen in the embeddings already, so each of the three probes finds them."""
    examples = examples_of(tmp_path, rows, task=task, form=form)
    bert = heads.build(BertConfig.from_dict(CONFIG), num_labels=2, head=Head(), seed=1).bert.eval()

    found = run.of_encoder(bert, examples, seed=1, most=1000)

    assert len(found.values) == 3
    assert found.values[0] == 1.0
    assert found.num_rows == (4 if form == "jsonl" else 6)
    assert run.of_encoder(bert, examples, seed=1, most=1000) == found


def test_last_vectors_are_those_of_the_encoder(tmp_path: Path) -> None:
    """Layer by layer gives what the model itself computes, and padding has no part in the mean."""
    examples = examples_of(tmp_path, SENTENCES, task="sequence-classification", form="jsonl")
    bert = heads.build(BertConfig.from_dict(CONFIG), num_labels=2, head=Head(), seed=1).bert.eval()
    batch = examples.train.batch(np.arange(4), device=torch.device("cpu"))

    with torch.no_grad():
        *_, last = bert.every_layer(batch.ids, batch.type_ids, batch.mask)
        expected = bert(batch.ids, batch.type_ids, batch.mask)

    torch.testing.assert_close(last, expected)
    torch.testing.assert_close(layers.pooled(last, batch)[0], last[0].mean(dim=0))


def test_table_and_picture_name_the_best_layer() -> None:
    """Of equals the first is the best; the picture is a whole SVG file."""
    found = Found(metric="accuracy", values=(0.5, 0.75, 0.75), num_rows=10)

    assert [line.split()[0] for line in run.table(found)] == ["layer", "embeddings", "1", "2"]
    assert [line for line in run.table(found) if line.endswith("best")] == [run.table(found)[2]]
    picture = ET.fromstring(run.picture(found))  # noqa: S314  # our own text
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
