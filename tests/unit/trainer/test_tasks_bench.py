"""What the benchmark on real data reads, compares and says; the peer is asked as ours are."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.tasks import ours, peer, runs, splits, verdict, works
from benchmarks.tasks.runs import Run, Side
from benchmarks.tasks.splits import Caps
from benchmarks.tasks.works import WORKS, Prepared, Work
from support.task_jobs import TOYS, a_task_job

from bertjob_api.job import parse_job
from bertjob_api.manifest import ModelManifest
from bertjob_trainer import bert_config, building, inputs
from bertjob_trainer.bert_config import BertConfig
from bertjob_trainer.evaluate import evaluate, outputs_of
from bertjob_trainer.group import Alone
from bertjob_trainer.machine import Machine

MACHINE = Machine(device=torch.device("cpu"), group=Alone(), dtype=torch.float32)
TOYS_OF_KINDS = (
    "sentence-pair",
    "sentence-pair-regression",
    "token-classification",
    "question-answering-unanswerable",
    "pretraining",
)
"""One for each kind of model that the benchmark trains."""


def a_data_folder(root: Path) -> Path:
    """Return *root* with a few rows of each data set, in the shapes in which they are published."""
    texts = {
        "text-classification/sst2/train.tsv": "sentence\tlabel\nthe cat \t1\nbad dog \t0\nvery good \t1\n",
        "text-classification/sst2/test.tsv": "sentence\tlabel\ngood cat\t1\n",
        "ner/wnut17/wnut17train.conll": "the\tO\nada\tB-person\n\t\ncat\tO\n\n\t\nsat\tO\n",
        "ner/wnut17/emerging.test.annotated": "ran\tO\n\ndog\tB-product\n",
        "sentence-pair/sts-b/sts-train.tsv": 'a\tb\tc\t0001\t3.250\ta "cat\tthe cat\na\tb\tc\t2\t1\tdog\tcat\textra\tx\n',
        "sentence-pair/sts-b/sts-test.tsv": "a\tb\tc\t0001\t5.000\tsat\tsat\n",
        "qa/xquad/xquad.en.json": json.dumps({"data": [_article(number) for number in range(12)]}),
    }
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    archive = root / "corpus" / "en" / "gutenberg.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as file:
        for name, encoding in (("one", "latin-1"), ("two", "utf-8")):
            book = "\r\n\r\n".join(f"The caf\u00e9 {name} {part}.\r\nA cat sat! It ran." for part in range(660))
            file.writestr(f"gutenberg/{name}.txt", book.encode(encoding))
    return root


def _article(number: int) -> dict[str, Any]:
    answers = [{"text": "cat", "answer_start": 4}]
    questions = [{"question": f"who {number} {each}", "id": "x", "answers": answers} for each in range(2)]
    return {"title": "t", "paragraphs": [{"context": f"the cat {number}", "qas": questions}]}


def test_data_sets_become_what_jobs_read(tmp_path: Path) -> None:
    """Each published shape is cut to the cap and becomes the format that the job names, with nothing in both parts."""
    root, caps = a_data_folder(tmp_path), Caps(train=2)
    train, held_out = splits.sst2(root, caps)
    assert (train.splitlines()[0], len(train.splitlines()), held_out) == (
        "sentence\tlabel",
        3,
        "sentence\tlabel\ngood cat\t1\n",
    )
    assert splits.wnut17(root, Caps())[0] == "the\tO\nada\tB-person\n\ncat\tO\n\nsat\tO\n"
    assert splits.wnut17(root, caps)[0].count("\n\n") == 1
    first = json.loads(splits.sts_b(root, caps)[0].splitlines()[0])
    assert first == {"text": 'a "cat', "text_pair": "the cat", "label": 3.25}

    train, held_out = splits.xquad_en(root, Caps(train=3))
    texts = [
        [paragraph["context"] for paragraph in json.loads(part)["data"][0]["paragraphs"]] for part in (train, held_out)
    ]
    assert len(texts[0]) == 3
    assert sorted(set(texts[1])) == ["the cat 0", "the cat 10"]
    assert not set(texts[0]) & set(texts[1])

    whole, held_out = splits.gutenberg(root, Caps())
    assert (whole + held_out).count("The caf\u00e9 one") == 660  # Latin-1 is read, nothing is lost
    assert not set(whole.splitlines()) & set(held_out.splitlines()) - {"", "A cat sat!", "It ran."}
    assert whole.splitlines()[0].startswith("The caf\u00e9 one")
    assert splits.gutenberg(root, Caps(train=100))[0].count("\n\n") == 1  # two whole documents


def test_budget_names_what_figures_depend_on(tmp_path: Path) -> None:
    """Another cap, another setting: another budget; the same work has the same one and needs no files of its own."""
    root = a_data_folder(tmp_path / "data")
    work = _tiny(WORKS["gutenberg"])

    def budget(work: Work, **setting: Any) -> str:
        return works.prepare("gutenberg", work, root=root, folder=tmp_path / "made", setting=setting).budget

    found = budget(work.capped(200))
    assert budget(work.capped(200)) == found
    assert len({found, budget(work.capped(300)), budget(work.capped(200), threads=2)}) == 3


def _tiny(work: Work) -> Work:
    training = {**work.training, "epochs": 1, "batchSize": 8, "microBatchSize": 8}
    return Work(
        title="tiny",
        split=work.split,
        suffix=work.suffix,
        metrics=work.metrics,
        model={**work.model, "vocabulary": {"size": 100}},
        data={**work.data, "maxSequenceLength": 24},
        training=training,
    )


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_both_sides_run(tmp_path: Path) -> None:
    """Both sides take as many steps on a work, and tell time and every metric that is compared."""
    work = _tiny(WORKS["gutenberg"]).capped(150)
    prepared = works.prepare(
        "gutenberg", work, root=a_data_folder(tmp_path / "data"), folder=tmp_path / "made", setting={}
    )
    found = [side.train(prepared, seed=1, machine=MACHINE) for side in (ours, peer)]
    assert found[0].steps == found[1].steps == -(-len(prepared.examples.train) // 8)
    for run in found:
        assert run.seconds > 0
        assert set(work.metrics) <= set(run.metrics)
        runs.keep(tmp_path / "kept", run)
    assert runs.kept(tmp_path / "kept", "gutenberg", budget=prepared.budget) == found
    assert runs.kept(tmp_path / "kept", "gutenberg", budget="another") == []
    assert len(verdict.compare(found, title="x", metrics=work.metrics)) == 2
    ours.train(prepared, seed=1, machine=MACHINE, models=tmp_path / "models")
    (model,) = (tmp_path / "models").iterdir()
    assert ModelManifest.from_json((model / "manifest.json").read_bytes()).role == "trained"


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", TOYS_OF_KINDS)
def test_same_weights_are_judged_alike(tmp_path: Path, kind: str) -> None:
    """The peer's model with our weights answers the held-out data as ours does, and its loss is that of our rows."""
    prepared = _a_toy(tmp_path, kind)
    task, examples = prepared.examples.task, prepared.examples
    mine = building.build_model(prepared.job, prepared.paths, examples, config=prepared.config)
    theirs = peer.model_of(prepared)
    missing, unexpected = theirs.load_state_dict(mine.state_dict(), strict=False)
    assert not unexpected
    assert all("position_ids" in key or "decoder" in key for key in missing)
    answering = peer.Answering(theirs, reads=task.reads, width=task.width(examples.labels))
    found, expected = (evaluate(model, examples.validation, task, MACHINE) for model in (answering, mine))
    assert found == pytest.approx(expected, abs=1e-5)
    if not task.hides:
        outputs = (outputs_of(model, examples.validation, task, MACHINE) for model in (answering, mine))
        assert all(one == pytest.approx(other, abs=1e-5) for one, other in zip(*outputs, strict=True))

    rows = peer.rows_of(examples.train, reads=task.reads)
    batch = peer.collate_of(prepared)(rows[:5])
    assert bool((batch["input_ids"][batch["attention_mask"] == 0] == examples.train.pad_id).all())
    assert batch["attention_mask"].sum() == examples.train.lengths[:5].sum()
    assert torch.isfinite(theirs(**batch).loss)


def _a_toy(folder: Path, kind: str) -> Prepared:
    given = a_task_job(folder, next(toy for toy in TOYS if toy.id == kind))
    del given["spec"]["model"]["head"]  # transformers has no hidden layers there
    job = parse_job(given, local=True)
    inputs.fetch(job, folder / "inputs")
    paths = inputs.locate(job, folder / "inputs")
    config = BertConfig.from_dict(bert_config.read(paths.model))
    examples = inputs.encode(paths, job, config=config, folder=folder / "encoded")
    work = WORKS["sst2"]  # not looked at
    return Prepared(
        name=kind, work=work, job=job, paths=paths, config=config, examples=examples, digests={}, budget="x"
    )


def _runs(values: Mapping[Side, list[float]], seconds: Mapping[Side, float]) -> list[Run]:
    return [
        Run(task="t", side=side, seed=seed, budget="b", steps=1, seconds=seconds[side], metrics={"f1": value})
        for side, found in values.items()
        for seed, value in enumerate(found)
    ]


@pytest.mark.parametrize(
    ("mine", "expected"),
    [([0.80, 0.82, 0.84], "passed"), ([0.77, 0.78, 0.79], "failed"), ([0.9, 0.9], "open")],
    ids=["within the range", "below it", "too few seeds"],
)
def test_verdict_allows_the_peers_own_range(mine: list[float], expected: str) -> None:
    """A mean of 0.82 may be 0.04 below 0.84 where the peer's seeds are 0.04 apart, and no more; two seeds tell nothing."""
    given = _runs({"bertjob": mine, "trainer": [0.82, 0.84, 0.86]}, {"bertjob": 2.0, "trainer": 5.0})
    (found,) = verdict.compare(given, title="T", metrics=["f1"])
    assert found.verdict == expected
    assert found.faster == 2.5
    assert len(found.seeds) == len(mine)
    figures = {row["id"]: row for row in verdict.rows([found])}
    assert figures["t-f1"]["value"] == pytest.approx(found.difference)
    assert (figures["t-f1"]["goal"] is None) == (expected == "open")
    assert figures["t-speedup"]["value"] == 2.5
    page = verdict.page([found], ["a budget"], machine={"threads": 2})
    assert page.count("\n| T | f1 |") == 1
    assert "- a budget" in page


def test_one_side_alone_says_nothing() -> None:
    """A seed that only one side has run is not compared."""
    given = _runs({"bertjob": [0.5], "trainer": []}, {"bertjob": 1.0, "trainer": 1.0})
    assert verdict.compare(given, title="T", metrics=["f1"]) == []
