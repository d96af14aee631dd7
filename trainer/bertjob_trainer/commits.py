"""The commit of a training run: ``RUN/model.json``, written once, after the model itself."""

from dataclasses import replace
from pathlib import Path

from bertjob_api import layout, termination
from bertjob_api.job import BertJob
from bertjob_api.manifest import MANIFEST, CorruptError, ModelManifest
from bertjob_api.status import Artifact
from bertjob_api.termination import Result
from bertjob_storage import folders, uris
from bertjob_storage.protocol import NotFoundError, PreconditionError, Storage

COMMIT = "model.json"


def committed(storage: Storage, run_uri: str) -> Result | None:
    """
    Return the result of a run that is finished, with 0 trained steps; None: train.

    A commit whose model is gone or incomplete counts as none.

    Raises:
        StorageError: storage does not answer.

    """
    try:
        result = termination.decode(storage.get(uris.join(run_uri, COMMIT)).decode("utf-8", errors="replace"))
    except NotFoundError:
        return None
    if result is None or result.artifact is None or not _is_intact(storage, result.artifact):
        return None
    return replace(result, trained_steps=0)


def publish(storage: Storage, job: BertJob, folder: Path, manifest: ModelManifest) -> Artifact:
    """Publish a model folder below the job, whole again if it lost files, and return where it is; raises StorageError."""
    artifact = Artifact(
        uri=layout.model_folder(job, manifest.sha256), sha256=manifest.sha256, size_bytes=manifest.size_bytes
    )
    if not _is_intact(storage, artifact):
        storage.delete(uris.join(artifact.uri, MANIFEST))  # nothing is written below a manifest that stands
    folders.publish(storage, folder, artifact.uri, manifest)
    return artifact


def commit(storage: Storage, run_uri: str, result: Result) -> Result:
    """Write the run's commit and return what stands there: another attempt's result when that was first and is intact."""
    target = uris.join(run_uri, COMMIT)
    data = termination.encode(result).encode("ascii")
    try:
        storage.put(target, data, if_absent=True)
    except PreconditionError:
        earlier = committed(storage, run_uri)
        if earlier is not None and earlier.artifact != result.artifact:
            return earlier
        storage.put(target, data)
    return result


def _is_intact(storage: Storage, artifact: Artifact) -> bool:
    """Return whether every file of the published folder is there with its size; contents are proven by who reads them."""
    try:
        manifest = folders.read_manifest(storage, artifact.uri, sha256=artifact.sha256)
    except (NotFoundError, CorruptError):
        return False
    sizes = {entry.uri: entry.size_bytes for entry in storage.list(f"{artifact.uri}/")}
    return all(sizes.get(uris.join(artifact.uri, entry.path)) == entry.size_bytes for entry in manifest.files)
