"""Models of a Hugging Face hub, against a stub of one."""

import resource
import socket
from pathlib import Path

import pytest
from support import hub_stub
from support.models import a_model_folder

from bertjob_storage.protocol import FullError, StorageError
from bertjob_tasks.errors import DataError
from bertjob_trainer import hub, sources

SECRET = "hf_very_secret"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "hub"
    folder.mkdir()
    a_model_folder(folder)
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    return folder


def env(stub: hub_stub.Hub, *, token: str | None = None) -> dict[str, str]:
    return {"HF_ENDPOINT": stub.url, **({"HF_TOKEN": token} if token else {})}


def test_files_of_a_model_are_copied_once(model: Path, tmp_path: Path) -> None:
    """What is trained from is there, byte for byte, nothing else is fetched, and a second start asks nothing."""
    scratch = tmp_path / "scratch"
    with hub_stub.running(model, name="org/name") as stub:
        names = hub.fetch("hf://org/name", scratch, wanted=sources.is_model_file, env=env(stub))
        asked = len(stub.asked)
        assert hub.fetch("hf://org/name", scratch, wanted=sources.is_model_file, env=env(stub)) == names
        assert len(stub.asked) == asked
    assert "pytorch_model.bin" in names
    assert not (scratch / "pytorch_model.bin").exists()
    assert not [path for path in stub.asked if "pytorch_model" in path]
    assert sources.digest(sources.model_files(scratch)) == sources.digest(sources.model_files(model))
    assert stub.tokens == {""}


def test_token_opens_a_private_model_and_stays_secret(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the token the model comes, without or with another one the message names the Secret's key and no token."""
    caplog.set_level(0)
    with hub_stub.running(model, name="org/name", token=SECRET) as stub:
        hub.fetch("hf://org/name", tmp_path / "a", wanted=sources.is_model_file, env=env(stub, token=SECRET))
        assert (tmp_path / "a" / "config.json").is_file()
        for token in (None, "hf_wrong"):
            with pytest.raises(DataError, match="HF_TOKEN") as caught:
                hub.fetch("hf://org/name", tmp_path / "b", wanted=sources.is_model_file, env=env(stub, token=token))
            assert "hf_" not in str(caught.value)
            assert caught.value.__cause__ is None
    assert SECRET not in caplog.text


def test_absent_models_are_the_users_and_a_silent_hub_is_not(model: Path, tmp_path: Path) -> None:
    """Another name and a bad one are mistakes; a hub that fails or is not there is tried again later."""
    with hub_stub.running(model, name="org/name") as stub:
        with pytest.raises(DataError, match=r"the hub has no hf://org/other"):
            hub.fetch("hf://org/other", tmp_path / "a", wanted=sources.is_model_file, env=env(stub))
        with pytest.raises(DataError, match="expected hf://ORG/NAME"):
            hub.fetch("hf://org/name/file?x", tmp_path / "a", wanted=sources.is_model_file, env=env(stub))
    with (
        hub_stub.running(model, name="org/name", status=500) as stub,
        pytest.raises(StorageError, match="does not answer"),
    ):
        hub.fetch("hf://org/name", tmp_path / "a", wanted=sources.is_model_file, env=env(stub))
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = {"HF_ENDPOINT": f"http://127.0.0.1:{taken.getsockname()[1]}"}
        with pytest.raises(StorageError, match="does not answer"):
            hub.fetch("hf://org/name", tmp_path / "a", wanted=sources.is_model_file, env=address)


def test_full_disk_is_not_a_silent_hub(model: Path, tmp_path: Path) -> None:
    """A file that cannot be written here says so; the hub has answered."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with hub_stub.running(model, name="org/name") as stub:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            with pytest.raises(FullError, match="no space left"):
                hub.fetch("hf://org/name", tmp_path / "a", wanted=sources.is_model_file, env=env(stub))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
