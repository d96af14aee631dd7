"""
The rendezvous state as one node sees it: without nodes that are known to be dead, and complete once all that are expected came.

It is never complete while a living node waits for it: who is left out ends the round at once, and six nodes would go on like that for
ever.

Subclasses ``_BackendRendezvousStateHolder`` and shortens the waits of ``dynamic_rendezvous`` (torch 2.13), which looks at the
state once a second.
"""

import time
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from torch.distributed.elastic.rendezvous import dynamic_rendezvous
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import (
    RendezvousBackend,
    RendezvousSettings,
    _BackendRendezvousStateHolder,
)

from bertjob_trainer.elastic.pulse import Peer, Pulse

_LOOK_S: Final = 0.05
_HOLD: Final = timedelta(seconds=1)
"""Longer than any look takes."""
_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)


def _briefly(seconds: float | tuple[float, float]) -> None:
    """Wait between two looks at the state."""
    most = seconds[1] if isinstance(seconds, tuple) else seconds
    time.sleep(min(most, _LOOK_S))


dynamic_rendezvous._delay = _briefly  # noqa: SLF001  # torch offers no setting, and a second is most of a recovery


class Membership(_BackendRendezvousStateHolder):  # type: ignore[misc]  # torch is not typed for us
    """Torch's holder of the state, which is asked for at every look."""

    def __init__(self, backend: RendezvousBackend, settings: RendezvousSettings, pulse: Pulse) -> None:
        super().__init__(backend, settings, cache_duration=0)
        self._pulse = pulse
        self._expected: frozenset[Any] = frozenset()

    def expect(self, nodes: Collection[Any]) -> None:
        """Say which nodes come to the next round, as far as is known: with the last of those that live it is complete."""
        self._expected = frozenset(nodes)

    def follow(self) -> None:
        """Watch the launchers of all nodes of the state."""
        state = self._state
        self._pulse.follow([peer_of(node) for node in (*state.participants, *state.wait_list)])

    def _sanitize(self) -> None:
        state, gone = self._state, self._pulse.gone()
        for node in state.last_heartbeats:
            if peer_of(node) in gone:
                state.last_heartbeats[node] = _LONG_AGO
        super()._sanitize()
        if state.complete:
            return
        if state.wait_list:
            state.deadline = datetime.now(UTC) + _HOLD
        elif self._all_here():
            state.deadline = _LONG_AGO

    def _all_here(self) -> bool:
        here, gone = self._state.participants.keys(), self._pulse.gone()
        living = {node for node in self._expected if peer_of(node) not in gone}
        return bool(living) and living <= here and len(here) >= self._settings.min_nodes


def peer_of(node: Any) -> Peer:
    """Return where the launcher of a node listens: the number that torch counts up is its port."""
    return Peer(node.addr, node.local_id)
