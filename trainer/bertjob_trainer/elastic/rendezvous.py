"""
How the nodes of an attempt find each other: torch's c10d rendezvous on a store that may come and go.

What torch's own handler lacks, each measured to matter: it notices within milliseconds that a node died; it keeps the
workers training while the store is restarted, and puts the membership back into the new one; it leaves at once when told to; it
tells late nodes how the attempt ended.

Touches private parts of torch 2.13 (``_state_holder``, ``_op_executor``): tested with each version that is allowed.
"""

import logging
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from torch.distributed import DistError, TCPStore
from torch.distributed.elastic.rendezvous import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousError,
    RendezvousInfo,
)
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import C10dRendezvousBackend
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import (
    DynamicRendezvousHandler,
    RendezvousBackend,
    RendezvousSettings,
    RendezvousTimeout,
    _NodeDesc,
    _RendezvousExitOp,
)

from bertjob_trainer.elastic.membership import Membership
from bertjob_trainer.elastic.outcome import FinishedError, Outcome
from bertjob_trainer.elastic.pulse import Pulse

_log = logging.getLogger(__name__)

KEEP_ALIVE_S: Final = 2
MISSED_KEEP_ALIVES: Final = 3
"""A node that is silent for 6 s is gone. Heartbeats carry the wall clock, so nodes' clocks must agree within some seconds."""
LAST_CALL_S: Final = 5
"""Wait for more nodes once the fewest are there; with all of them there is none."""
QUICK_LAST_CALL_S: Final = 0.25
"""The same where workers stay alive: for them another round soon after costs less than waiting in this one."""
JOIN_S: Final = 900
_READ_S: Final = 30
_RECONNECT_S: Final = 2.0


class StoreBackend(RendezvousBackend):  # type: ignore[misc]  # torch is not typed for us
    """Rendezvous state in a TCPStore that is connected to again after it was restarted."""

    def __init__(self, host: str, port: int, *, run_id: str) -> None:
        self._host = host
        self._port = port
        self._run_id = run_id
        self._store: Any = None
        self._backend: C10dRendezvousBackend | None = None
        self._retry_at = 0.0

    @property
    def name(self) -> str:
        """Return the name of the backend."""
        return "c10d"

    @property
    def store(self) -> Any:
        """Return the connected store. Raises RendezvousConnectionError."""
        self._connected()
        return self._store

    def get_state(self) -> Any:
        """Return the state and its token, or None when there is none."""
        return self._call(lambda backend: backend.get_state())

    def set_state(self, state: bytes, token: Any = None) -> Any:
        """Return the state after trying to replace the one of *token*."""
        return self._call(lambda backend: backend.set_state(state, token))

    def _call(self, use: Callable[[C10dRendezvousBackend], Any]) -> Any:
        try:
            return use(self._connected())
        except RendezvousConnectionError:
            self._backend = self._store = None
            raise

    def _connected(self) -> C10dRendezvousBackend:
        if self._backend is None:
            if time.monotonic() < self._retry_at:
                raise RendezvousConnectionError("the rendezvous store is away")
            try:
                # The connection's own timeout is short so that the workers stay watched meanwhile.
                self._store = TCPStore(self._host, self._port, is_master=False, timeout=timedelta(seconds=1))
            except (DistError, RuntimeError, ValueError) as error:
                self._retry_at = time.monotonic() + _RECONNECT_S
                raise RendezvousConnectionError(f"no rendezvous store at {self._host}:{self._port}") from error
            self._store.set_timeout(timedelta(seconds=_READ_S))
            self._backend = C10dRendezvousBackend(self._store, self._run_id)
        return self._backend


class Rendezvous(DynamicRendezvousHandler):  # type: ignore[misc]
    """One node's part in the rendezvous of an attempt."""

    _backend: StoreBackend
    _pulse: Pulse
    _agreed: Any = None
    """Newest state that has this node among its participants."""
    _world: int = 0
    _away: bool = False
    lost: bool = False
    """A node of this round has gone: its neighbours wait for it in vain and cannot save."""

    @classmethod
    def join(
        cls,
        backend: StoreBackend,
        *,
        run_id: str,
        nodes: tuple[int, int],
        address: str,
        last_call_s: float = LAST_CALL_S,
    ) -> "Rendezvous":
        """
        Return a handler. Nothing is sent yet.

        Args:
            backend: where the nodes meet.
            run_id: of the attempt.
            nodes: the fewest and the most that may train together.
            address: of this node.
            last_call_s: seconds to wait for more nodes once the fewest are there.

        """
        settings = RendezvousSettings(
            run_id,
            *nodes,
            RendezvousTimeout(join=timedelta(seconds=JOIN_S), last_call=timedelta(seconds=last_call_s)),
            keep_alive_interval=timedelta(seconds=KEEP_ALIVE_S),
            keep_alive_max_attempt=MISSED_KEEP_ALIVES,
        )
        pulse = Pulse(address)
        membership = Membership(backend, settings, pulse)
        node = _NodeDesc(address, os.getpid(), pulse.port)  # by which the others find the pulse
        handler = cls(node, settings, backend.name, None, membership)
        handler._backend, handler._pulse = backend, pulse  # our own class
        return handler

    def next_rendezvous(self) -> RendezvousInfo:
        """
        Return this node's place in the next round, after waiting for enough nodes and, if need be, for the store.

        Raises:
            FinishedError: the attempt has ended.
            RendezvousTimeoutError: too few nodes came in time.

        """
        deadline = time.monotonic() + JOIN_S
        while True:
            self._raise_if_finished()
            try:
                found = super().next_rendezvous()
            except RendezvousClosedError:
                self._raise_if_finished()
                raise
            except RendezvousConnectionError:
                if time.monotonic() > deadline:
                    raise
                self._note_away()
                time.sleep(_RECONNECT_S)
                continue
            self._world, self.lost = found.world_size, False
            self._agreed = self._state_holder.state
            self._state_holder.follow()
            return found

    def num_nodes_waiting(self) -> int:
        """
        Return how many nodes have come or gone since this round began: not 0 means that a new one is needed.

        Without the store nothing is known and nothing is needed: 0. Raises FinishedError.
        """
        try:
            with self._heartbeat_lock:
                self._state_holder.sync()
                self._restore_after_store_restart()
                state = self._state_holder.state
            self._note_back()
            if self._this_node in state.participants:
                self._agreed = state
            self._state_holder.follow()
            self._state_holder.expect((*state.participants, *state.wait_list))
            left = max(0, self._world - len(state.participants))
            self.lost = left > 0
            changes = len(state.wait_list) + left + (self._this_node not in state.participants)
            if changes or state.closed:
                changes = self._needed(changes)
        except RendezvousConnectionError:
            self._note_away()
            self._forget_unsent()
            return 0
        return changes

    def be_patient(self, *, is_new: bool, brief_rounds: int) -> None:
        """
        Wait longer for other nodes in the next round.

        Args:
            is_new: this node has no state and they may: alone it would begin again from the last commit.
            brief_rounds: how many of the newest rounds were over at once, as they are when nodes on busy machines come late.

        """
        seconds = LAST_CALL_S if is_new else min(LAST_CALL_S, QUICK_LAST_CALL_S * 2**brief_rounds)
        self._settings.timeout._last_call = timedelta(seconds=seconds)  # noqa: SLF001  # torch offers no other way

    def present(self) -> int:
        """Return how many nodes of this round are alive. Raises RendezvousConnectionError."""
        with self._heartbeat_lock:
            self._state_holder.sync()
            return len(self._state_holder.state.participants)

    def close(self) -> None:
        """Leave for good."""
        self.leave()
        self._pulse.close()

    def leave(self) -> None:
        """Leave the rendezvous now, so that the others need not wait for this node; it may come back."""
        self._stop_heartbeats()
        try:
            with self._heartbeat_lock:
                self._op_executor.run(_RendezvousExitOp(), time.monotonic() + 2)
        except (RendezvousError, DistError):
            _log.info("launcher: left without telling the rendezvous store, which does not answer")

    def publish(self, outcome: Outcome) -> Outcome:
        """Store how the attempt ended, unless another node was first, and return what stands there."""
        try:
            stored = self._backend.store.compare_set(self._outcome_key, "", outcome.to_json())
            return Outcome.from_json(stored.decode())
        except (RendezvousConnectionError, DistError, ValueError):
            return outcome

    def outcome(self) -> Outcome | None:
        """Return how the attempt ended, or None when it has not, or when the store is away."""
        try:
            store = self._backend.store
            return (
                Outcome.from_json(store.get(self._outcome_key).decode()) if store.check([self._outcome_key]) else None
            )
        except (RendezvousConnectionError, DistError):
            return None

    @property
    def _outcome_key(self) -> str:
        return f"bertjob/outcome/{self.get_run_id()}"

    def _get_store(self) -> Any:
        return self._wrap_store(self._backend.store)

    def _raise_if_finished(self) -> None:
        done = self.outcome()
        if done is not None:
            raise FinishedError(done)

    def _needed(self, changes: int) -> int:
        """Return *changes*, or 0 when a good end makes them the natural leaving of nodes that are done."""
        done = self.outcome()
        if done is None:
            return changes
        if done.code != 0:
            raise FinishedError(done)
        return 0

    def _restore_after_store_restart(self) -> None:
        """Put the membership back into an empty store; of several survivors one succeeds and the others find its state."""
        state = self._state_holder.state
        if self._agreed is None or state.participants or state.wait_list or state.round:
            return
        now = datetime.now(UTC)
        self._agreed.last_heartbeats = dict.fromkeys(self._agreed.participants, now)
        self._state_holder._state = self._agreed  # noqa: SLF001  # torch offers no other way
        self._state_holder.mark_dirty()
        self._state_holder.sync()

    def _forget_unsent(self) -> None:
        """
        Forget a state that could not be written.

        Torch would take it for the store's once an empty store is back, with heartbeats that have grown old meanwhile: the
        other nodes would look dead.
        """
        with self._heartbeat_lock:
            self._state_holder._dirty = False  # noqa: SLF001  # torch offers no other way

    def _note_away(self) -> None:
        if not self._away:
            self._away = True
            _log.warning("launcher: the rendezvous store is away; training goes on, new nodes must wait")

    def _note_back(self) -> None:
        if self._away:
            self._away = False
            _log.info("launcher: the rendezvous store is back")
