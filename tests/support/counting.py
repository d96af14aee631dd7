"""What an operator asks of an API server, request by request, and what its plans say that it has to ask."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import pytest

from bertjob_api.cluster import EVENT, Cluster, Object, Ref, ref_of
from bertjob_operator.plan import Plan, drift
from bertjob_operator.shell import execute, operator
from bertjob_operator.shell.settings import Settings

LOGGER: Final = "bertjob_operator.runtime.connection"
_IS_OPERATOR: Final[ContextVar[bool]] = ContextVar("is_operator", default=False)
"""Whether the running task belongs to an operator: user and kubelet of a test use connections of the same process."""


class Requests(logging.Handler):
    """Counts an operator's requests by what its connection logs of each."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.writes: Counter[str] = Counter()
        """Tries that were refused among them."""
        self.reads: Counter[str] = Counter()
        """Those that were neither a watch nor the list before it, which may have many pages, or find the kind not served."""

    def emit(self, record: logging.LogRecord) -> None:
        """Count one request."""
        if not _IS_OPERATOR.get():
            return
        method, _, code, what = record.args  # type: ignore[misc]  # of the one line that the connection logs
        verb, _, rest = str(what).partition(" ")
        if method != "GET":
            self.writes[str(what)] += 1
        elif verb == "watch":
            self.reads.pop(f"list {rest}", None)
        elif code != 404:
            self.reads[str(what)] += 1


@contextmanager
def requests() -> Iterator[Requests]:
    """Give the requests that operators of this process, run by ``operating``, send within the block."""
    logger, handler = logging.getLogger(LOGGER), Requests()
    before = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


async def operating(cluster: Cluster, settings: Settings) -> None:
    """Run an operator whose requests are counted."""
    _IS_OPERATOR.set(True)
    await operator.run(cluster, settings)


@dataclass(frozen=True, slots=True)
class Turn:
    """One plan, and the children as they stood."""

    plan: Plan
    found: Mapping[Ref, Object]


@contextmanager
def turns(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Turn]]:
    """Give the plans that operators of this process carry out within the block, in order."""
    seen: list[Turn] = []

    async def recorded(plan: Plan, *rest: Any, found: Mapping[Ref, Object], **more: Any) -> bool:
        seen.append(Turn(plan, found))
        return await execute.execute(plan, *rest, found=found, **more)

    with monkeypatch.context() as patch:
        patch.setattr(operator, "execute", recorded)
        yield seen


def needed(turns: Iterable[Turn]) -> Counter[str]:
    """
    Return the writes that *turns* need if every write is seen at once: what a plan wants again is not written again.

    A child counts when it is wanted for the first time or anew, a deletion once for each incarnation, the status when it
    differs, an event each time.
    """
    counts: Counter[str] = Counter()
    standing: dict[Ref, Object] = {}
    gone: set[str] = set()
    for turn in turns:
        for wanted in turn.plan.apply:
            ref = ref_of(wanted)
            if not drift.stands(wanted, turn.found.get(ref)) and wanted != standing.get(ref):
                standing[ref] = wanted
                counts[f"apply {ref}"] += 1
        counts.update(f"replace {each.path} of {each.ref}" for each in turn.plan.replace)
        for removal in turn.plan.delete:
            standing.pop(removal.ref, None)
            if removal.uid not in gone:
                gone.add(removal.uid)
                counts[f"delete {removal.ref}"] += 1
                counts["status"] += removal.status_first is not None
        counts["status"] += bool(turn.plan.status)
        counts["event"] += len(turn.plan.events)
    return counts


def grouped(writes: Mapping[str, int]) -> Counter[str]:
    """Return the writes that were sent under the names that ``needed`` gives them."""
    counts: Counter[str] = Counter()
    for what, count in writes.items():
        group = "event" if what.startswith(f"apply {EVENT.kind} ") else what
        counts["status" if what.startswith("patch status of ") else group] += count
    return counts
