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
from bertjob_trainer.report.findings import Analysis, Mistake

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
    if not found.mistakes:
        return {}
    reader = tokenizer_files.load(tokenizer)

    def text(mistake: Mistake) -> str:
        read = mistake.read or (inputs[mistake.index],)
        return " | ".join(_readable(reader.decode(item.ids.tolist(), skip_special_tokens=False)) for item in read)

    return {mistake.index: text(mistake) for mistake in found.mistakes}


def pieces(job: BertJob, found: Analysis, *, tokenizer: Path) -> Mapping[int, str] | None:
    """Return the spelling of pieces that were mixed up, by number; None: the job wants no text stored."""
    if not job.spec.privacy.store_texts:
        return None
    if not found.mixed:
        return {}
    reader = tokenizer_files.load(tokenizer)
    wanted = {number for each in found.mixed for number in (each.expected, each.answered)}
    return {number: reader.id_to_token(number) or f"#{number}" for number in wanted}


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
