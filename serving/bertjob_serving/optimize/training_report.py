"""The picture of the candidates in the report that training wrote beside the model."""

import logging

from bertjob_api import layout
from bertjob_storage.opening import open_storage
from bertjob_storage.protocol import NotFoundError, StorageError
from bertjob_trainer.report import page

_log = logging.getLogger(__name__)


def add_candidates(model_uri: str, svg: str) -> None:
    """Put *svg* into the report of the trained model, if it has one; an own script's has none."""
    uri = layout.report_uri(model_uri)
    storage = open_storage(uri)
    try:
        storage.put(uri, page.with_candidates(storage.get(uri).decode(), svg).encode())
    except NotFoundError:
        return
    except StorageError as error:  # the same picture stands beside the evaluation
        _log.warning("the candidates are not in the training report: %s", error)
