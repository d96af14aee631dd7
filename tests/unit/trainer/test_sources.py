"""Where models and data come from."""

import sys
from pathlib import Path

import pytest
from support.models import a_model_folder

from bertjob_tasks.errors import DataError
from bertjob_trainer import sources


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the model folder of an installed package whose import would fail."""
    folder = tmp_path / "heavy" / "inner" / "model"
    folder.mkdir(parents=True)
    (tmp_path / "heavy" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_package_folder_is_found_without_importing(package: Path) -> None:
    """A package's model is read from its files; its code never runs."""
    assert sources.package_folder("heavy/inner/model") == package
    assert sources.package_folder("heavy.inner/model") == package
    assert "heavy" not in sys.modules


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("path", ["absent_package/model", "heavy/absent", "not-a-name/x", "heavy/../.."])
def test_package_that_is_not_there_is_refused(path: str) -> None:
    """An unknown package, a folder it lacks and a way out of it are mistakes of the user."""
    with pytest.raises(ValueError, match=r"package|folder"):
        sources.package_folder(path)


def test_missing_local_file_is_named(tmp_path: Path) -> None:
    """A path that does not exist is named with its field."""
    with pytest.raises(DataError, match=r"spec\.data\.train: file:///.*absent"):
        sources.data_path(f"file://{tmp_path}/absent", field="spec.data.train", scratch=tmp_path)


def test_digest_is_of_what_is_trained(tmp_path: Path) -> None:
    """A README changes nothing, a weight does."""
    folder = a_model_folder(tmp_path)
    before = sources.digest(sources.model_files(folder))

    (folder / "README.md").write_text("words")
    assert sources.digest(sources.model_files(folder)) == before

    (folder / "vocab.txt").write_text((folder / "vocab.txt").read_text() + "more\n")
    assert sources.digest(sources.model_files(folder)) != before


def test_local_storage_needs_no_copy(tmp_path: Path) -> None:
    """Files of this machine are read where they are."""
    data = tmp_path / "train.jsonl"
    data.write_text("{}")
    uri = f"file://{data}"

    sources.fetch_data(uri, scratch=tmp_path / "scratch")

    assert sources.data_path(uri, field="f", scratch=tmp_path / "scratch") == data
    assert not (tmp_path / "scratch").exists()
