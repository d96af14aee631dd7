"""
The agent of one node: torch's, with quicker stops, a verdict on failures, and an end that all nodes share.

Touches ``_remaining_restarts``, ``_pcontext`` and the underscored steps that torch's ``SimpleElasticAgent`` leaves to
subclasses (torch 2.13).
"""

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch.distributed import DistError
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.rendezvous import RendezvousConnectionError

from bertjob_api import termination
from bertjob_api.termination import Result
from bertjob_trainer.elastic import outcome
from bertjob_trainer.elastic.budget import Budget, after_failure
from bertjob_trainer.elastic.outcome import Outcome
from bertjob_trainer.elastic.rendezvous import Rendezvous
from bertjob_trainer.elastic.streams import PipedLogs

_log = logging.getLogger(__name__)

_QUICK_STOP_S: Final = 5
"""After a failure or a loss: the others wait for a dead neighbour and cannot save, so more patience gains nothing."""
_GRACEFUL_STOP_S: Final = 60
"""When nodes come: time to save at the next step boundary."""
_EVICTION_S: Final = 600
"""After SIGTERM: as long as it takes; the kubelet's grace period ends it."""
_EXIT_BARRIER_S: Final = 300
_BARRIER_POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """The worker whose failure counts, of those that ended at the same time."""

    local_rank: int
    rank: int
    pid: int
    exit_code: int
    """As ``subprocess`` gives it: negative for a signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What the agent asks and tells the process around it."""

    step: Callable[[], int | None]
    """Gives the highest step reported so far; None: none was."""
    on_failure: Callable[[], None]
    """Called before workers are started again after a failure of their own."""
    on_signal: Callable[[int, Any], None]
    """Handler of SIGTERM and SIGINT; torch replaces it at each start of the workers, so it is set again after."""


class Agent(LocalElasticAgent):  # type: ignore[misc]  # torch is not typed for us
    """Starts, watches and restarts this node's workers until they succeed or the failure budget is used up."""

    def __init__(
        self,
        spec: WorkerSpec,
        logs: PipedLogs,
        *,
        budget: Budget,
        result_file: Path,
        outside: Outside,
    ) -> None:
        """
        Prepare.

        Args:
            spec: the workers; its rendezvous handler is a ``Rendezvous``.
            logs: their output.
            budget: failures that are tolerated.
            result_file: where workers write their termination message.
            outside: the process around it.

        """
        super().__init__(spec, logs, exit_barrier_timeout=_EXIT_BARRIER_S, shutdown_timeout=_EVICTION_S)
        self.outcome: Outcome | None = None
        """How it ended; None while it runs."""
        self._logs = logs
        self._budget = budget
        self._result_file = result_file
        self._outside = outside
        self._death: Death | None = None
        self._started = 0.0

    @property
    def _rendezvous_handler(self) -> Rendezvous:
        handler = self._worker_group.spec.rdzv_handler
        assert isinstance(handler, Rendezvous)
        return handler

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        self._result_file.unlink(missing_ok=True)
        self._death = None
        self._started = time.monotonic()
        pids: dict[int, Any] = super()._start_workers(worker_group)
        self._logs.started()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._outside.on_signal)
        ranks = ", ".join(f"{worker.global_rank} (pid {pids[worker.local_rank]})" for worker in worker_group.workers)
        _log.info("launcher: world of %d, rank %s", worker_group.workers[0].world_size, ranks)
        return pids

    def _stop_workers(self, worker_group: WorkerGroup) -> None:
        can_save = worker_group.state == WorkerState.HEALTHY and not self._rendezvous_handler.lost
        self._shutdown(timeout=_GRACEFUL_STOP_S if can_save else _QUICK_STOP_S)

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        dead = self._first_death(worker_group)
        if dead is not None and self._death is None:
            self._death = dead
            assert self._pcontext is not None
            self._pcontext.close(signal.SIGTERM, _QUICK_STOP_S)
        result = super()._monitor_workers(worker_group)
        if result.state in (WorkerState.FAILED, WorkerState.UNHEALTHY):
            self._judge()
        return result

    def _first_death(self, worker_group: WorkerGroup) -> Death | None:
        handlers = getattr(self._pcontext, "subprocess_handlers", {})
        dead = [
            Death(local_rank=local, rank=worker_group.workers[local].global_rank, pid=each.proc.pid, exit_code=code)
            for local, each in handlers.items()
            if (code := each.proc.poll())
        ]
        return min(dead, key=lambda death: death.exit_code != termination.USER_ERROR, default=None)

    def _judge(self) -> None:
        """Decide whether the workers are started again; if not, the agent's loop ends with the outcome that is set here."""
        death = self._death
        assert death is not None
        if death.exit_code == termination.USER_ERROR:
            self._remaining_restarts = 0
            self.outcome = self._rendezvous_handler.publish(self._failure(death, code=termination.USER_ERROR))
            return
        ran_s = time.monotonic() - self._started
        self._budget, again = after_failure(
            self._budget, step=self._outside.step(), ran_s=ran_s, killed=death.exit_code < 0
        )
        if not again:
            self._remaining_restarts = 0
            self.outcome = self._failure(death, code=termination.RETRY)
            return
        self._remaining_restarts = max(self._remaining_restarts, 1)
        self._outside.on_failure()
        how = outcome.how_it_ended(death.exit_code)
        delay = self._budget.delay_s
        _log.warning("launcher: rank %d (pid %d) %s; workers start again in %g s", death.rank, death.pid, how, delay)
        time.sleep(delay)

    def _failure(self, death: Death, *, code: int) -> Outcome:
        """Return the failure as the worker told it, else with its last words."""
        self._logs.finish()
        told = termination.decode(_read(self._result_file))
        if told is not None and told.failure is not None:
            return Outcome(code=code, message=termination.encode(told))
        often = f" for the {self._budget.failures}. time without progress" if code == termination.RETRY else ""
        said = self._logs.tail(death.local_rank) or "nothing"
        return outcome.failed(
            code,
            reason="WorkerKilled" if death.exit_code < 0 else "WorkerFailed",
            message=f"worker of rank {death.rank} {outcome.how_it_ended(death.exit_code)}{often}; it said last: {said}",
            rank=death.rank,
            step=self._outside.step(),
        )

    def close(self) -> None:
        """End what trains no more."""

    def _exit_barrier(self) -> None:
        """Tell the other nodes that this one is done, and wait for those that are not, while they live."""
        self._logs.finish()
        text = _read(self._result_file)
        message = text if termination.decode(text) is not None else termination.encode(Result())
        self.outcome = self._rendezvous_handler.publish(Outcome(code=termination.OK, message=message))
        deadline = time.monotonic() + self._exit_barrier_timeout
        try:
            arrived = self._store.add("bertjob/arrived", 1)
            while time.monotonic() < deadline and arrived < self._rendezvous_handler.present():
                time.sleep(_BARRIER_POLL_S)
                arrived = self._store.add("bertjob/arrived", 0)
        except (DistError, RendezvousConnectionError):
            _log.info("launcher: done; the rendezvous store is away, so nobody is waited for")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
