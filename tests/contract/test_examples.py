"""Every example is a BertJob that a cluster takes, and the quickstart's data keeps its promises."""

import importlib.util
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from support.cluster import install_crd

from bertjob_cli import jobfile
from bertjob_local.parts import LocalCluster

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.rglob("*.yaml"))


@pytest.fixture(scope="module")
def quickstart_data() -> ModuleType:
    """Give the script as a module."""
    return _script("quickstart_data")


def _script(name: str) -> ModuleType:
    """Return a script as a module; nothing is left beside it."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its dataclass looks itself up there
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_example_is_valid(path: Path) -> None:
    """The parser takes the file as a cluster would, and it stays below the user's own prefix."""
    job = jobfile.parse(path, jobfile.read(path), local=False)

    assert job.spec.storage.prefix.startswith("s3://")
    assert job.spec.storage.secret_ref is not None


def test_examples_cover_what_may_be_left_out() -> None:
    """There is a job for each choice of optimize and serving, and one for GPU nodes that may come and go."""
    jobs = [jobfile.parse(path, jobfile.read(path), local=False) for path in FILES]

    assert {(job.spec.optimize is not None, job.spec.serving is not None) for job in jobs} == {
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    }
    assert any(job.spec.training.elastic is not None and job.spec.training.replicas >= 4 for job in jobs)


@pytest.mark.cluster
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_api_server_takes_example(path: Path, real_api: LocalCluster) -> None:
    """A server-side dry run of the file, unread by us, succeeds without a warning."""
    install_crd(real_api)

    said = real_api.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(path))

    assert said.endswith("created (server dry run)\n")


def test_held_out_modules_were_never_trained_on(quickstart_data: ModuleType) -> None:
    """Labels are equally frequent, no module is on both sides, and no sentence comes twice."""
    train, held_out = quickstart_data.split(quickstart_data.collect())

    assert len(quickstart_data.SOURCES) >= 8
    for part, size in (
        (train, quickstart_data.TRAIN_PER_LABEL),
        (held_out, quickstart_data.HELD_OUT_PER_LABEL),
    ):
        assert Counter(each.label for each in part) == dict.fromkeys(quickstart_data.SOURCES, size)
    assert {each.module for each in train}.isdisjoint(each.module for each in held_out)
    texts = [each.text.lower() for each in (*train, *held_out)]
    assert len(set(texts)) == len(texts)


def test_data_is_the_same_every_time(tmp_path: Path) -> None:
    """Two processes write the same bytes: nothing depends on hash seeds or the order of files."""
    for folder, seed in (("first", "1"), ("second", "2")):
        argv = [sys.executable, EXAMPLES / "quickstart_data.py", "--to", tmp_path / folder]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env={"PYTHONHASHSEED": seed})

    for name in ("train.jsonl", "validation.jsonl"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_word_senses_are_asked_in_new_sentences() -> None:
    """Each sentence has one right meaning of several, names its word once, and no held-out sentence was trained on."""
    script = _script("word_sense_data")
    train, held_out = (list(script.rows(held_out=part)) for part in (False, True))

    assert len(train) > len(held_out) > 100
    for part in (train, held_out):
        right = Counter(row.text for row in part if row.label == "yes")
        assert set(right.values()) == {1}
        assert {row.text for row in part} == set(right)
        assert all(row.text.count('"') == 2 for row in part)
        assert all(row.text_pair.split(":")[0] == row.text.split('"')[1].strip() for row in part)
    assert {row.text for row in train}.isdisjoint(row.text for row in held_out)
    assert {row.text_pair for row in train} == {row.text_pair for row in held_out}
