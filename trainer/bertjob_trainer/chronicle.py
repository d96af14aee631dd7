"""
A run's records as files for whoever follows it: ``metrics.jsonl`` and an event file of TensorBoard.

Each write replaces both files by the whole course, which is small; so no reader ever sees a step twice, whatever was killed and
resumed in between. Training never waits for it, and a write that fails is made up for by the next.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from bertjob_storage import files, uris
from bertjob_storage.protocol import Storage, StorageError
from bertjob_trainer import events
from bertjob_trainer.course import Course, Record

METRICS: Final = "metrics.jsonl"
INTERVAL_S: Final = 15.0
"""Two small objects in this time are not noticed on any storage."""

_log = logging.getLogger(__name__)


def jsonl(records: Iterable[Record]) -> bytes:
    """Return one line of JSON for each record."""
    return b"".join(json.dumps(record.to_json()).encode() + b"\n" for record in records)


class Chronicle:
    """Writes the newest course now and then, from a thread of its own."""

    def __init__(
        self, storage: Storage, run_uri: str, *, local: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Prepare; nothing is written yet.

        Args:
            storage: serves *run_uri*.
            run_uri: folder of the run.
            local: folder on this machine for the same files; made when absent.
            clock: monotonic seconds.

        """
        self._storage = storage
        self._run_uri = run_uri
        self._local = local
        self._clock = clock
        self._next = clock() + INTERVAL_S
        self._writing: Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="chronicle")
        self._failed = False

    def note(self, course: Course) -> None:
        """Write *course* in the background when that is due and the last write is done."""
        if self._clock() < self._next or (self._writing is not None and not self._writing.done()):
            return
        self._next = self._clock() + INTERVAL_S
        self._writing = self._thread.submit(self._write, course.records)

    def close(self, course: Course) -> None:
        """Write *course* now, and nothing more."""
        self._thread.shutdown()
        self._write(course.records)

    def _write(self, records: tuple[Record, ...]) -> None:
        contents = {METRICS: jsonl(records), events.NAME: events.encode(records)}
        try:
            self._keep(contents)
            for name, content in contents.items():
                self._storage.put(uris.join(self._run_uri, name), content)
        except (StorageError, OSError) as error:
            if not self._failed:
                _log.warning(
                    "%s cannot be written (%s); training goes on, and the next write has all of it", METRICS, error
                )
            self._failed = True

    def _keep(self, contents: Mapping[str, bytes]) -> None:
        self._local.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            with files.appearing(self._local / name) as temporary:
                temporary.write_bytes(content)
