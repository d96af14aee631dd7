"""Published folders and the downloader."""

from pathlib import Path

import pytest

from bertjob_api.manifest import CorruptError, FileEntry, ModelManifest
from bertjob_storage import fetch, folders, open_storage
from bertjob_storage.protocol import NotFoundError, Storage


def manifest_of(files: tuple[FileEntry, ...]) -> ModelManifest:
    return ModelManifest(
        role="trained",
        task="sequence-classification",
        labels=("a", "b"),
        max_sequence_length=16,
        engine="safetensors",
        engine_version="1",
        method="fp32",
        files=files,
    )


@pytest.fixture
def storage() -> Storage:
    return open_storage("file:///x")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "sub" / "weights").write_bytes(b"1234")
    return folder


def published(storage: Storage, model: Path, tmp_path: Path) -> tuple[str, ModelManifest]:
    manifest = manifest_of(folders.file_entries(model))
    uri = f"file://{tmp_path}/store/{manifest.sha256}"
    folders.publish(storage, model, uri, manifest)
    return uri, manifest


def test_entries_name_every_file(model: Path) -> None:
    """Entries are sorted, relative, and leave a manifest out."""
    (model / "manifest.json").write_text("{}")
    assert [entry.path for entry in folders.file_entries(model)] == ["config.json", "sub/weights"]


def test_published_folder_comes_back(storage: Storage, model: Path, tmp_path: Path) -> None:
    """Fetching gives the same files and manifest; fetching again repairs what was changed locally."""
    uri, manifest = published(storage, model, tmp_path)
    for _ in range(2):
        assert folders.fetch(storage, uri, tmp_path / "out", manifest.sha256) == manifest
        assert folders.file_entries(tmp_path / "out") == manifest.files
        (tmp_path / "out" / "sub" / "weights").write_bytes(b"9999")


def test_publishing_again_writes_nothing(storage: Storage, model: Path, tmp_path: Path) -> None:
    """With the manifest in place no object is written, whatever became of the local files."""
    uri, manifest = published(storage, model, tmp_path)
    before = [(entry.uri, (Path(entry.uri[7:]).stat().st_mtime_ns)) for entry in storage.list(uri)]
    (model / "config.json").unlink()
    folders.publish(storage, model, uri, manifest)
    assert [(entry.uri, (Path(entry.uri[7:]).stat().st_mtime_ns)) for entry in storage.list(uri)] == before


def test_changed_local_file_is_not_published(storage: Storage, model: Path, tmp_path: Path) -> None:
    """A file that is not what the manifest says stops the publication before anything is written."""
    manifest = manifest_of(folders.file_entries(model))
    (model / "config.json").write_text("[]")
    with pytest.raises(CorruptError, match=r"config\.json has sha256"):
        folders.publish(storage, model, f"file://{tmp_path}/store", manifest)
    assert list(storage.list(f"file://{tmp_path}/store")) == []


def test_folder_of_another_model_is_refused(storage: Storage, model: Path, tmp_path: Path) -> None:
    """Publishing over another manifest is refused."""
    uri, _ = published(storage, model, tmp_path)
    (model / "config.json").write_text("[]")
    with pytest.raises(CorruptError, match="holds another model"):
        folders.publish(storage, model, uri, manifest_of(folders.file_entries(model)))


@pytest.mark.parametrize("damage", [b"1235", b"123", b"", None], ids=["flipped", "short", "empty", "absent"])
def test_damage_is_found(storage: Storage, model: Path, tmp_path: Path, damage: bytes | None) -> None:
    """A damaged or missing file stops the fetch, is named, and is not kept; no manifest appears."""
    uri, _ = published(storage, model, tmp_path)
    target = Path(uri[7:]) / "sub" / "weights"
    target.unlink() if damage is None else target.write_bytes(damage)
    with pytest.raises((CorruptError, NotFoundError), match="sub/weights"):
        folders.fetch(storage, uri, tmp_path / "out")
    assert not (tmp_path / "out" / "sub" / "weights").exists()
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_folder_without_manifest_is_not_published(storage: Storage, tmp_path: Path) -> None:
    """Files alone are no model."""
    storage.put(f"file://{tmp_path}/store/config.json", b"{}")
    with pytest.raises(NotFoundError, match=r"holds no manifest\.json"):
        folders.fetch(storage, f"file://{tmp_path}/store", tmp_path / "out")


def test_wrong_digest_is_refused(storage: Storage, model: Path, tmp_path: Path) -> None:
    """A manifest with another digest than expected is refused with both digests."""
    uri, manifest = published(storage, model, tmp_path)
    with pytest.raises(CorruptError, match=f"has sha256 {manifest.sha256}, expected 00"):
        folders.fetch(storage, uri, tmp_path / "out", "00")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\\b", ""])
def test_hostile_names_are_refused(storage: Storage, tmp_path: Path, name: str) -> None:
    """A manifest cannot make the fetch write outside its folder."""
    manifest = manifest_of((FileEntry(path=name, sha256="00", size_bytes=0),))
    storage.put(f"file://{tmp_path}/store/manifest.json", manifest.to_json())
    with pytest.raises(CorruptError, match="expected a path within the folder"):
        folders.fetch(storage, f"file://{tmp_path}/store", tmp_path / "out")


def test_download_of_object_and_folder(storage: Storage, tmp_path: Path) -> None:
    """An object keeps its name, a folder its inner paths, and a neighbour with the same beginning stays out."""
    for name in ("data/a.jsonl", "data/sub/b.jsonl", "database"):
        storage.put(f"file://{tmp_path}/{name}", name.encode())
    out = tmp_path / "out"
    assert folders.download(storage, f"file://{tmp_path}/data", out) == (out / "a.jsonl", out / "sub" / "b.jsonl")
    assert folders.download(storage, f"file://{tmp_path}/data/a.jsonl", out / "2") == (out / "2" / "a.jsonl",)
    with pytest.raises(NotFoundError, match="there is nothing"):
        folders.download(storage, f"file://{tmp_path}/dat", out)


def run_fetch(source: str, target: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = fetch.main([source, str(target)], {})
    return code, capsys.readouterr().err


def test_downloader_verifies(storage: Storage, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The program ends 0 on a sound artifact and 1 with one line on a damaged one."""
    uri, _ = published(storage, model, tmp_path)
    assert run_fetch(uri, tmp_path / "out", capsys) == (0, "")
    (Path(uri[7:]) / "config.json").write_text("xx")
    code, said = run_fetch(uri, tmp_path / "out2", capsys)
    assert code == 1
    assert said.count("\n") == 1
    assert "config.json has sha256" in said


def test_downloader_holds_the_name_to_the_manifest(
    storage: Storage, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder named by a sha256 that is not its manifest's, or without a manifest, is refused."""
    uri, manifest = published(storage, model, tmp_path)
    Path(uri[7:]).rename(tmp_path / "store" / ("0" * 64))
    code, said = run_fetch(f"file://{tmp_path}/store/{'0' * 64}", tmp_path / "out", capsys)
    assert (code, manifest.sha256 in said) == (1, True)
    storage.put(f"file://{tmp_path}/store/{'1' * 64}/config.json", b"{}")
    code, said = run_fetch(f"file://{tmp_path}/store/{'1' * 64}", tmp_path / "out", capsys)
    assert (code, "holds no manifest.json" in said) == (1, True)


def test_downloader_copies_what_has_no_manifest(
    storage: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A foreign model folder is copied as it is, as KServe's own downloader does."""
    storage.put(f"file://{tmp_path}/foreign/model.bin", b"x")
    assert run_fetch(f"file://{tmp_path}/foreign", tmp_path / "out", capsys) == (0, "")
    assert (tmp_path / "out" / "model.bin").read_bytes() == b"x"


def test_downloader_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """Without pairs of arguments the usage is shown."""
    assert fetch.main(["one"], {}) == 1
    assert "usage:" in capsys.readouterr().err
