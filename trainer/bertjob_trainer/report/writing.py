"""The report of a published model: made in the process that published it, and put beside the model."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bertjob_api import layout
from bertjob_api.job import BertJob
from bertjob_api.parse import dump
from bertjob_api.status import Artifact
from bertjob_storage.protocol import Storage, StorageError
from bertjob_tasks import tokenizer_files
from bertjob_tasks.encoding import Encoded
from bertjob_trainer.report import page
from bertjob_trainer.report.analysis import Analysis

_log = logging.getLogger(__name__)
_UNSHOWN = ("podTemplate", "resources")
"""Foreign objects, which may carry what nobody wants to publish."""


def shown_spec(job: BertJob) -> dict[str, Any]:
    """Return the spec without foreign objects."""
    spec = dump(job.spec)
    for part in ("training", "optimize"):
        if part in spec:
            spec[part] = {key: value for key, value in spec[part].items() if key not in _UNSHOWN}
    return spec


def texts(job: BertJob, found: Analysis, inputs: Sequence[Encoded], *, tokenizer: Path) -> Mapping[int, str] | None:
    """Return the inputs of mistakes as the model read them; None: the job wants no text stored."""
    if not job.spec.privacy.store_texts:
        return None
    reader = tokenizer_files.load(tokenizer)
    wanted = {mistake.index for mistake in found.mistakes}
    return {index: _readable(reader.decode(inputs[index].ids.tolist(), skip_special_tokens=False)) for index in wanted}


def _readable(text: str) -> str:
    return text.replace("[CLS]", "").replace("[SEP]", " | ").strip().removesuffix("|").strip()


def put(storage: Storage, artifact: Artifact, report: page.Report) -> None:
    """Write the page beside the model; the model is what counts, so a failure is only worth a warning."""
    uri = layout.report_uri(artifact.uri)
    try:
        storage.put(uri, page.html(report).encode())
    except StorageError as error:
        _log.warning("the report was not written: %s", error)
    else:
        _log.info("report: %s", uri)
