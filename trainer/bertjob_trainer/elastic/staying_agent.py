"""
The agent whose workers stay alive: of a round that ends, only the lost workers are started again.

The others leave their group, keep model and optimizer in memory, and are given their place in the next round. A new worker loads
and reads all it needs before its node asks to join, so that nobody waits for it. Touches
``subprocess_handlers`` and ``_running_local_ranks`` of torch's ``SubprocessContext`` (torch 2.13), which starts all workers of a
node or none.
"""

import logging
import os
import signal
import time
from typing import Any, Final

from torch.distributed.elastic.agent.server.api import RunResult, Worker, WorkerGroup, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing.subprocess_handler import get_subprocess_handler

from bertjob_api import termination
from bertjob_trainer.elastic import outcome
from bertjob_trainer.elastic.agent import Agent
from bertjob_trainer.elastic.budget import after_failure
from bertjob_trainer.elastic.outcome import FinishedError
from bertjob_trainer.elastic.places import NO_ROUND, Free, Place, Places
from bertjob_trainer.elastic.spare import Spare, close_streams

_log = logging.getLogger(__name__)

_RELEASE_S: Final = 120.0
"""How long a worker may take to leave its round: as long as a step or the publication of a model; it holds the newest state."""
_SILENCE_S: Final = 15.0
"""A worker that has not beaten for so long hangs."""
_QUICK_S: Final = 0.5
"""How long the others wait for a node whose spare worker takes a place; longer than that they train without it."""
_SETTLED_S: Final = 5.0
"""A round that has gone on for so long is no brief one, and a spare worker is started, which takes time from those that come back."""
_POLL_S: Final = 0.02
_NO_STORE: Final = object()
"""Workers get the store's address with their place."""


def _number_provisionally(group: WorkerGroup) -> None:
    """Give the workers of one node numbers to start with, as if it were alone; their place tells the real ones."""
    count = group.spec.local_world_size
    group.store, group.group_rank, group.group_world_size = _NO_STORE, 0, 1
    group.master_addr, group.master_port = "", 0
    for worker in group.workers:
        worker.global_rank = worker.role_rank = worker.local_rank
        worker.world_size = worker.role_world_size = count


class StayingAgent(Agent):
    """Starts, watches and places this node's workers until they succeed or the failure budget is used up."""

    def __init__(self, *args: Any, places: Places, keeps_spare: bool, **kwargs: Any) -> None:
        """Prepare; *places* is the folder that the workers have in their environment, the rest is as for ``Agent``."""
        super().__init__(*args, **kwargs)
        self._places = places
        self._spare = Spare(places, self._logs) if keeps_spare else None
        self._round = 0
        self._brief_rounds = 0
        """How many of the newest rounds ended before they had settled."""
        self._round_of: dict[int, int] = {}
        """The newest round that a process was given a place in, by its id."""
        self._leaves_at: float | None = None
        """Monotonic time at which this node, which lost a worker, leaves the rendezvous; None: it has, or need not."""
        self._new: set[int] = set()
        """Local ranks of the workers that were started since the newest round began."""

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        self._end_hung()
        if self._spare is not None and time.monotonic() - self._started > _SETTLED_S:
            self._spare.keep(self._pcontext)
        dead = self._first_death(worker_group)
        if dead is not None and dead.exit_code != termination.USER_ERROR:
            self._death = dead
            self._judge()
            return RunResult(state=WorkerState.FAILED)
        if dead is None and (left := self._freed()):
            return self._left(left, worker_group)
        return super()._monitor_workers(worker_group)

    def _left(self, left: list[Free], worker_group: WorkerGroup) -> RunResult:
        """Return that a new round is needed, unless rounds break off again and again without a step between them."""
        self._remaining_restarts += 1  # the round costs none
        if not any(each.lost for each in left):
            return RunResult(state=WorkerState.UNHEALTHY)
        ran_s = time.monotonic() - self._started
        self._budget, again = after_failure(self._budget, step=self._outside.step(), ran_s=ran_s, killed=True)
        if again:
            time.sleep(self._budget.delay_s)
        else:
            self._remaining_restarts = 0
            self.outcome = outcome.failed(
                termination.RETRY,
                reason="PeerLost",
                message=f"other nodes were lost {self._budget.failures} times without a step between; look at their pods",
                rank=worker_group.workers[0].global_rank,
                step=self._outside.step(),
            )
        return RunResult(state=WorkerState.UNHEALTHY)

    def _restart_workers(self, worker_group: WorkerGroup) -> None:
        """Take the workers from their round into the next one; those that are lost are started again."""
        self._leaves_at = None
        self._brief_rounds = self._brief_rounds + 1 if time.monotonic() - self._started < _SETTLED_S else 0
        lost = len(worker_group.workers) - len(self._alive())
        if lost:
            # Where there is room the others go on without this node meanwhile, unless that takes longer than to wait for it.
            is_quick = lost == 1 and self._spare is not None and self._spare.is_ready
            self._leaves_at = time.monotonic() + (_QUICK_S if is_quick else 0.0)
        self._leave_if_late()
        self._release()
        worker_group.state = WorkerState.STOPPED
        self._initialize_workers(worker_group)

    def _leave_if_late(self) -> None:
        """Leave the rendezvous, once, when this node has made the others wait for as long as it may."""
        if self._leaves_at is not None and time.monotonic() >= self._leaves_at:
            self._leaves_at = None
            self._rendezvous_handler.leave()

    def _release(self) -> None:
        """Wait until every worker that lives has left its round; one that does not is ended."""
        lost = self._death is not None or self._rendezvous_handler.lost or any(each.lost for each in self._freed())
        self._places.call(self._round, lost=lost)
        deadline = time.monotonic() + _RELEASE_S
        while bound := set(self._alive()) - self._staying():
            self._end_hung()
            if time.monotonic() > deadline:
                for local_rank in bound:
                    self._kill(local_rank, f"did not leave its round within {_RELEASE_S:g} s")
            time.sleep(_POLL_S)

    def _rendezvous(self, worker_group: WorkerGroup) -> None:
        """Meet the other nodes, with workers that have loaded and read all they need: nobody waits for one that still starts."""
        self._start_missing(worker_group)
        while set(self._alive()) - self._staying() or self._first_death(worker_group) is not None:
            self._end_hung()
            self._leave_if_late()
            dead = self._first_death(worker_group)
            if dead is not None:
                self._death = dead
                self._judge_or_end()
                self._start_missing(worker_group)
            time.sleep(_POLL_S)
        # With a spare worker this node may be back before the others have noticed that one died.
        is_new = self._round > 0 and len(self._new) == len(worker_group.workers)
        self._rendezvous_handler.be_patient(is_new=is_new, brief_rounds=self._brief_rounds)
        super()._rendezvous(worker_group)

    def _judge_or_end(self) -> None:
        """Decide whether a worker that died before it had a place is started again. Raises FinishedError when it is not."""
        self._judge()
        if self._remaining_restarts == 0:
            assert self.outcome is not None
            if self.outcome.code == termination.USER_ERROR:
                self._rendezvous_handler.shutdown()  # for the other nodes too
            raise FinishedError(self.outcome)

    def _start_missing(self, worker_group: WorkerGroup) -> None:
        """Start the workers that do not run; they make themselves ready and wait for their place."""
        missing = [each for each in worker_group.workers if each.local_rank not in self._alive()]
        if not missing:
            return
        self._result_file.unlink(missing_ok=True)
        self._death = None
        self._new = {worker.local_rank for worker in missing}
        for worker in missing:
            self._places.forget(worker.local_rank)
        if self._pcontext is None:
            _number_provisionally(worker_group)
            LocalElasticAgent._start_workers(self, worker_group)  # noqa: SLF001  # ours tells a world that there is not yet
        else:
            for worker in missing:
                self._start_again(worker, worker_group)
        self._logs.started()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._outside.on_signal)

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        """Give the workers, which all run and are ready, their places."""
        assert self._pcontext is not None, "workers are started before the rendezvous; this is a bug"
        self._round += 1
        self._started = time.monotonic()
        pids: dict[int, Any] = self._pcontext.pids()
        for worker in worker_group.workers:
            self._places.give(worker.local_rank, self._place(worker, worker_group))
            self._logs.renumber(worker.local_rank, worker.global_rank)
            self._round_of[pids[worker.local_rank]] = self._round
        ranks = ", ".join(
            f"{each.global_rank} (pid {pids[each.local_rank]}, {'new' if each.local_rank in self._new else 'stays'})"
            for each in worker_group.workers
        )
        self._new = set()
        _log.info("launcher: world of %d, rank %s", worker_group.workers[0].world_size, ranks)
        return pids

    def _place(self, worker: Worker, group: WorkerGroup) -> Place:
        return Place(
            round=self._round,
            rank=worker.global_rank,
            world=worker.world_size,
            local_world=group.spec.local_world_size,
            address=f"{group.master_addr}:{group.master_port}",
        )

    def _start_again(self, worker: Worker, group: WorkerGroup) -> None:
        """Start one worker, with the environment it had but for what a new round changes, or take the spare one."""
        context: Any = self._pcontext
        local_rank = worker.local_rank
        close_streams(context.subprocess_handlers[local_rank])
        context._running_local_ranks.add(local_rank)  # noqa: SLF001  # torch never starts one alone
        if self._spare is not None and self._spare.is_ready:
            context.subprocess_handlers[local_rank] = self._spare.take(local_rank)
            pid = context.subprocess_handlers[local_rank].proc.pid
            _log.info("launcher: the spare worker takes local rank %d (pid %d)", local_rank, pid)
            return
        env = context.envs[local_rank]
        env |= {
            "RANK": str(worker.global_rank),
            "GROUP_RANK": str(group.group_rank),
            "ROLE_RANK": str(worker.role_rank),
            "WORLD_SIZE": str(worker.world_size),
            "GROUP_WORLD_SIZE": str(group.group_world_size),
            "ROLE_WORLD_SIZE": str(worker.role_world_size),
            "MASTER_ADDR": group.master_addr,
            "MASTER_PORT": str(group.master_port),
            "TORCHELASTIC_RESTART_COUNT": str(group.spec.max_restarts - self._remaining_restarts),
        }
        stdout, stderr = self._logs.again(local_rank, env)
        context.subprocess_handlers[local_rank] = get_subprocess_handler(
            entrypoint=context.entrypoint,
            args=context.args[local_rank],
            env=env,
            stdout=stdout,
            stderr=stderr,
            local_rank_id=local_rank,
            numa_options=None,
        )
        pid = context.subprocess_handlers[local_rank].proc.pid
        _log.info("launcher: a new worker of local rank %d makes itself ready (pid %d)", local_rank, pid)

    def close(self) -> None:
        """End what trains no more."""
        if self._spare is not None:
            self._spare.end()

    def _alive(self) -> dict[int, int]:
        """Return the process id of each worker that runs, by its local rank."""
        handlers = getattr(self._pcontext, "subprocess_handlers", {})
        return {local: each.proc.pid for local, each in handlers.items() if each.proc.poll() is None}

    def _freed(self) -> list[Free]:
        return [each for each in self._words().values() if each is not None]

    def _staying(self) -> set[int]:
        """Return the local ranks of the workers that live and wait for a place: they have left their round, or are new and ready."""
        return {local_rank for local_rank, word in self._words().items() if word is not None}

    def _words(self) -> dict[int, Free | None]:
        """Return what each worker that lives has said since it got its newest place, by its local rank."""
        return {
            local_rank: self._places.free(local_rank, pid=pid, round_=self._round_of.get(pid, NO_ROUND))
            for local_rank, pid in self._alive().items()
        }

    def _end_hung(self) -> None:
        for local_rank, pid in self._alive().items():
            if self._places.silence_s(pid) > _SILENCE_S:
                self._kill(local_rank, f"hangs: it was silent for {_SILENCE_S:g} s")

    def _kill(self, local_rank: int, why: str) -> None:
        process = getattr(self._pcontext, "subprocess_handlers", {})[local_rank].proc
        _log.warning("launcher: worker of local rank %d (pid %d) %s; it is ended", local_rank, process.pid, why)
        os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own
        process.wait()
