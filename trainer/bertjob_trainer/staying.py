"""A worker's side of staying alive from round to round: its places, its heartbeat, and the agent's calls."""

import logging
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bertjob_api import names
from bertjob_trainer.elastic.places import NO_ROUND, Free, Place, Places
from bertjob_trainer.forming import Connections
from bertjob_trainer.stop import Stop

_log = logging.getLogger(__name__)

_BEAT_S: Final = 0.5
_POLL_S: Final = 0.02
_PATIENCE_S: Final = 10.0
"""How long after a call a step may still take while nobody is known to be lost; then it is broken off and done again."""


class Stay:
    """The way of this worker from one round into the next."""

    def __init__(self, places: Places, *, local_rank: int, stop: Stop) -> None:
        """Start to beat, and to break the group off when it is called in vain."""
        self.connections = Connections()
        self._places = places
        self._local_rank = local_rank
        self._stop = stop
        self._place: Place | None = None
        self._in_group = False
        threading.Thread(target=self._watch, name="staying", daemon=True).start()

    def ready(self) -> None:
        """Say that this worker has all that it needs for its first round."""
        self._places.say_free(self._local_rank, Free(pid=os.getpid(), round=NO_ROUND, lost=False))

    def next_place(self) -> Place | None:
        """Return the place in the next round once it is given; None: asked to stop instead."""
        last = self._place.round if self._place is not None else NO_ROUND
        while not self._stop.asked:
            place = self._places.place(self._local_rank)
            if place is not None and place.round > last:
                self._place, self._in_group = place, True
                return place
            time.sleep(_POLL_S)
        return None

    def leave(self, *, lost: bool) -> None:
        """Say that this worker has left its round and stays: because another process was *lost*, or because it was called."""
        assert self._place is not None
        self._in_group = False
        self._places.say_free(self._local_rank, Free(pid=os.getpid(), round=self._place.round, lost=lost))

    @property
    def is_called(self) -> bool:
        """Return whether the agent wants this round to end."""
        return self._place is not None and self._places.called(self._place.round) is not None

    @property
    def is_given_up(self) -> bool:
        """Return whether a wait for other processes of this round is in vain."""
        if self._stop.overdue:
            return True
        call = self._places.called(self._place.round) if self._place is not None else None
        return call is not None and (call.lost or time.time() - call.time > _PATIENCE_S)

    def _watch(self) -> None:
        while True:
            self._places.beat(os.getpid())
            if self._in_group and self.is_given_up:
                self.connections.break_off()
            time.sleep(_BEAT_S)


def from_env(env: Mapping[str, str], *, local_rank: int, stop: Stop) -> Stay | None:
    """Return the way to stay that the launcher offers; None: it offers none, and a lost peer ends this worker."""
    folder = env.get(names.PLACES_ENV)
    return Stay(Places(Path(folder)), local_rank=local_rank, stop=stop) if folder else None
