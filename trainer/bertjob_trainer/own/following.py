"""
What an own script tells of its way, kept as our own loop keeps it: ``metrics.jsonl`` and TensorBoard's events, and the report.

The supervisor of the pod takes the script's reports; here the newest one is looked at now and then, so of steps that follow each
other faster some are left out.
"""

import json
import logging
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bertjob_api.parse import parse
from bertjob_api.progress import Progress
from bertjob_storage import uris
from bertjob_storage.protocol import NotFoundError, Storage
from bertjob_trainer.chronicle import METRICS, Chronicle
from bertjob_trainer.course import STEP, Course

_TIMEOUT_S: Final = 2.0
_MOST: Final = 4000
"""Records that are kept: more than a picture has points."""
_log = logging.getLogger(__name__)

Ask = Callable[[], Progress]
"""Gives the newest report; raises OSError or ValueError where there is none to be had."""


def ask_at(url: str) -> Ask:
    """Return what asks a supervisor at *url* on loopback."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask() -> Progress:
        with opener.open(url, timeout=_TIMEOUT_S) as answer:
            return parse(Progress, json.loads(answer.read()), path="progress")

    return ask


class Following:
    """The course of a script's run, and its files."""

    def __init__(self, storage: Storage, run_uri: str, *, local: Path, ask: Ask | None) -> None:
        """
        Go on from what is in storage.

        Args:
            storage: serves *run_uri*.
            run_uri: folder of the run.
            local: folder on this machine for the same files.
            ask: for the newest report; None: nobody takes reports here.

        """
        self.course = read_course(storage, run_uri)
        self._ask = ask
        self._chronicle = Chronicle(storage, run_uri, local=local)
        self._seen: int | None = None

    def look(self) -> None:
        """Take the newest report, if it tells of a step that is not known yet."""
        if self._ask is None:
            return
        try:
            found = self._ask()
        except (OSError, ValueError) as error:
            _log.debug("progress is not known: %s", error)
            return
        if found.step is None or found.step == self._seen:
            return
        now = found.updated or time.time()
        if self._seen is None:
            self.course.started(found.step, now=now, values={"processes": found.world_size or 1})
        self._seen = found.step
        told = {"epoch": found.epoch, "loss": found.loss, "samplesPerSecond": found.samples_per_second}
        values = {name: value for name, value in told.items() if value is not None}
        self.course.stepped(found.step, total=found.step, now=now, values=values)
        if len(self.course) > _MOST:
            self.course = thinned(self.course)
        self._chronicle.note(self.course)

    def close(self) -> None:
        """Take the last report, and write what is known; nothing where the script told nothing."""
        self.look()
        if len(self.course):
            self._chronicle.close(self.course)

    @property
    def last_step(self) -> int | None:
        """Return the newest step that the script told of; None: it told of none."""
        return max((record.step for record in self.course.records if record.kind == STEP), default=None)


def thinned(course: Course) -> Course:
    """Return the course with half of its steps; which ones come is chance, so ``Course.stepped`` cannot choose beforehand."""
    steps = [record.step for record in course.records if record.kind == STEP]
    dropped = set(steps[1:-1:2])
    return Course(record for record in course.records if record.kind != STEP or record.step not in dropped)


def read_course(storage: Storage, run_uri: str) -> Course:
    """Return what an earlier start left; an empty course where it left nothing that can be read."""
    try:
        lines = storage.get(uris.join(run_uri, METRICS)).decode("utf-8").splitlines()
        return Course.from_json([json.loads(line) for line in lines])
    except NotFoundError:
        return Course()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        _log.warning("%s cannot be read (%s); it begins anew", METRICS, error)
        return Course()
