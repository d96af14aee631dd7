"""Candidates, each built once: found in storage, or made in a process of its own, published and recorded."""

import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bertjob_api import layout
from bertjob_api.job import BertJob
from bertjob_api.manifest import ModelManifest
from bertjob_api.status import Artifact
from bertjob_serving import cpu, engine, golden
from bertjob_serving.optimize import contain
from bertjob_serving.optimize.outcome import Outcome, Record
from bertjob_serving.optimize.recipes import FP32, RECIPES
from bertjob_storage import folders
from bertjob_storage.protocol import NotFoundError, Storage
from bertjob_tasks.task import Task

_log = logging.getLogger(__name__)

TIMEOUT_S: Final = 3600.0
"""Longest time for one candidate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Where candidates are made, and what they are made of."""

    job: BertJob
    storage: Storage
    folder: Path
    """Working folder with the bundle and the trained model."""
    run: str
    """URI of the optimize run."""
    task: Task[Any]
    labels: tuple[str, ...]
    max_length: int
    origin: Mapping[str, str]
    timeout_s: float = TIMEOUT_S


def candidate(shop: Workshop, method: str) -> Record | str:
    """
    Return the record of a finished candidate, or the reason why there is none.

    A record of an earlier run on the same type of CPU is taken as it is.

    Raises:
        StorageError: the result could not be looked up or stored.

    """
    found = _recorded(shop, method)
    if found is not None:
        _log.info("%s: found finished, nothing to do", method)
        return found
    argv = (sys.executable, "-m", "bertjob_serving.optimize.candidate", method, str(shop.folder))
    broken = contain.run(argv, timeout_s=shop.timeout_s)
    if broken is not None:
        return broken
    report = json.loads((shop.folder / f"{method}.json").read_text(encoding="utf-8"))
    if "failure" in report:
        return str(report["failure"])
    artifact = None if RECIPES[method].is_shown else _publish(shop, method)
    record = Record(outcome=Outcome.from_json(json.dumps(report["outcome"]).encode()), artifact=artifact)
    shop.storage.put(_key(shop, method), record.to_json())
    return record


def _key(shop: Workshop, method: str) -> str:
    return f"{shop.run}/candidates/{method}.json"


def _recorded(shop: Workshop, method: str) -> Record | None:
    """Return the record of an earlier run, FP32 with its files, or None when it must be made anew."""
    try:
        record = Record.from_json(shop.storage.get(_key(shop, method)))
        if record.outcome.cpu != cpu.model():
            _log.info("%s: was measured on another CPU (%s), measuring again", method, record.outcome.cpu)
            return None
        artifact = record.artifact
        if artifact is not None and method == FP32:  # the other candidates are timed beside it
            folders.fetch(shop.storage, artifact.uri, shop.folder / FP32, artifact.sha256)
        elif artifact is not None:
            folders.read_manifest(shop.storage, artifact.uri, sha256=artifact.sha256)
    except NotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("%s: the earlier record is unusable (%s), making it again", method, error)
        return None
    return record


def _publish(shop: Workshop, method: str) -> Artifact:
    """Write the artifact's files under their digest and return the reference."""
    folder, recipe = shop.folder / method, RECIPES[method]
    feature = None if recipe.is_reference else cpu.int8_feature(cpu.features())
    manifest = ModelManifest(
        role="served",
        task=shop.task.name,
        problem=shop.task.problem,
        labels=shop.labels,
        max_sequence_length=shop.max_length,
        stride=shop.job.spec.data.stride,
        engine=recipe.engine,
        engine_version=engine.library(recipe.engine).version(),
        method=method,
        files=folders.file_entries(folder),
        golden=golden.FILE,
        cpu_features=(feature,) if feature is not None else (),
        origin=shop.origin,
    )
    uri = layout.model_folder(shop.job, manifest.sha256)
    _log.info("%s: publishing %d bytes to %s", method, manifest.size_bytes, uri)
    folders.publish(shop.storage, folder, uri, manifest)
    return Artifact(uri=uri, sha256=manifest.sha256, size_bytes=manifest.size_bytes)
