"""What an own script is handed, and where it lies on this machine."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bertjob_api import names
from bertjob_api.digest import sha256_of
from bertjob_api.job import BertJob
from bertjob_storage import files, uris
from bertjob_tasks import rows
from bertjob_trainer import sources

_LEFT_TO_SCRIPT: Final = ("hf", "preset")
"""Sources that a script reads itself, as transformers does."""
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Folders of one pod; its workers share them."""

    root: Path

    @property
    def checkpoints(self) -> Path:
        """Return where the script keeps its checkpoints, each in a folder of its own."""
        return self.root / "checkpoints"

    @property
    def output(self) -> Path:
        """Return where rank 0 leaves the trained model."""
        return self.root / "output"

    def marker(self, env: Mapping[str, str]) -> Path:
        """Return the file that says that everything is there for this start of the workers."""
        start = f"{env.get('TORCHELASTIC_RESTART_COUNT', '0')}-{env.get('MASTER_PORT', '0')}"
        return self.root / f"ready-{start}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Local paths of what the job names."""

    data: Mapping[str, Path]
    """By name: train, validation, test."""
    model: Path | None
    """None: the script reads the source itself."""

    def env(self) -> dict[str, str]:
        """Return the variables that tell the script."""
        named = {"train": names.OWN_TRAIN_ENV, "validation": names.OWN_VALIDATION_ENV, "test": names.OWN_TEST_ENV}
        found = {named[name]: str(path) for name, path in self.data.items()}
        return found | ({names.OWN_MODEL_ENV: str(self.model)} if self.model is not None else {})


def places_of(env: Mapping[str, str]) -> Places:
    """Return the folders of this pod."""
    home = Path(env.get("HOME", names.SCRATCH_DIR))
    # Named by the pod, since process pods of one machine may share a home.
    return Places(root=home / "bertjob-own" / (env.get(names.POD_NAME_ENV) or env.get(names.POD_IP_ENV) or "pod"))


def fetch(job: BertJob, root: Path) -> None:
    """Copy remote inputs below *root*; raises DataError and StorageError."""
    for name, uri in sources.data_uris(job).items():
        sources.fetch_data(uri, scratch=root / name)
    if not _is_left_to_script(job):
        sources.fetch_model(sources.model_uri(job), prefix=job.spec.storage.prefix, scratch=root / "model")


def located(job: BertJob, root: Path) -> Inputs:
    """Return where the inputs lie once they are fetched; raises DataError."""
    data = {
        name: sources.data_path(uri, field=f"spec.data.{name}", scratch=root / name)
        for name, uri in sources.data_uris(job).items()
    }
    model = None if _is_left_to_script(job) else sources.model_folder(sources.model_uri(job), scratch=root / "model")
    return Inputs(data=data, model=model)


def digests(job: BertJob, inputs: Inputs, command: Sequence[str]) -> dict[str, str]:
    """Return the sha256 of each input and of the script, as ``layout.run_id`` wants them: a changed script is another run."""
    data = {name: sources.digest(rows.files(path, job.spec.data.format)) for name, path in inputs.data.items()}
    data.pop("test", None)
    model = (
        sources.digest(sources.model_files(inputs.model))
        if inputs.model
        else sha256_of(sources.model_uri(job).encode())
    )
    script = Path(command[0])
    return {**data, "model": model, **({"script": files.sha256_of(script)} if script.is_file() else {})}


def mark(path: Path, *, is_done: bool) -> None:
    """Tell this pod's other workers that they may start, or that the run *is_done* and nothing is to be started."""
    for old in path.parent.glob("ready-*"):
        old.unlink(missing_ok=True)
    with files.appearing(path) as temporary:
        temporary.write_text(json.dumps(is_done))


def await_mark(path: Path, *, is_stopped: Callable[[], bool]) -> bool:
    """Return what the pod's first worker told; also True when this one is asked to stop."""
    parent = os.getppid()
    while not path.exists():
        if is_stopped() or os.getppid() != parent:
            return True
        time.sleep(_POLL_S)
    return bool(json.loads(path.read_text()))


def _is_left_to_script(job: BertJob) -> bool:
    return uris.scheme_of(sources.model_uri(job)) in _LEFT_TO_SCRIPT
