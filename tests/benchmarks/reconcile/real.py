"""
What jobs cost a real API server: how many get all their objects in a second, and every request that they cause.

Beside Kubeflow Trainer and a kopf operator, in turns on the same API server; who is not measured does not run. Every job is
there before its operator may begin, and counts when its training Job, the last of its objects, is there.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.reconcile.peers import Kopf, Peer, Recorded, Trainer, bert_job, cpu_seconds, held
from support import counting, kubeflow
from support.benching import Row, row
from support.cluster import install_crd
from support.operating import SETTINGS, together

from bertjob_api import names
from bertjob_api.cluster import BERT_JOB, CONFIG_MAP, JOB, POD, SERVICE, SERVICE_ACCOUNT, Cluster, Kind, Object, ref_of
from bertjob_local.parts import API_ONLY, LocalCluster, Settings
from bertjob_operator.runtime.calls import collection
from bertjob_operator.runtime.http import HttpCluster, connect

JOBS: Final = 50
ROUNDS: Final = 3
OURS: Final = "BertJob"
MADE: Final = (BERT_JOB, kubeflow.TRAIN_JOB, kubeflow.JOB_SET, JOB, SERVICE, POD, CONFIG_MAP, SERVICE_ACCOUNT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one operator did with so many jobs."""

    seconds: float
    """Until all of them had all their objects."""
    server_s: float
    """Processor time of the API server and etcd."""
    operator_s: float
    """Processor time of the operator; ours shares its process with the user, who watches."""


def rows() -> list[Row]:
    """Return a row for each figure."""
    kubeflow.need()
    with tempfile.TemporaryDirectory() as folder:
        cluster = LocalCluster.up(Path(folder) / "cluster", Settings(parts=API_ONLY, owner_pid=os.getpid()))
        try:
            install_crd(cluster)
            return asyncio.run(_rows(cluster, Path(folder)))
        finally:
            cluster.down(delete=True)


async def _rows(cluster: LocalCluster, folder: Path) -> list[Row]:
    async with connect(cluster.layout.kubeconfig) as user:
        trainer = Trainer(cluster, folder / "trainer")
        recorded, (_, alone) = await _alone(cluster, user)
        peers: list[Peer] = [trainer, Kopf(cluster, folder / "kopf", recorded)]
        found: defaultdict[str, list[Turn]] = defaultdict(list)
        for number in range(ROUNDS):
            turn, many = await _ours(cluster, user, JOBS, prefix=f"ours-{number}")
            found[OURS].append(turn)
            for peer in peers:
                found[peer.name].append(await _theirs(cluster, user, peer, prefix=f"theirs-{number}"))
    return [*_speeds(found), *_costs(found), *_requests(alone, many)]


def _speeds(found: dict[str, list[Turn]]) -> list[Row]:
    speeds = {name: JOBS / statistics.median(turn.seconds for turn in turns) for name, turns in found.items()}
    ours = speeds.pop(OURS)
    what = f"{JOBS} new jobs to all objects on a real API server"
    ratios = {
        name: statistics.median(theirs.seconds / own.seconds for own, theirs in zip(found[OURS], turns, strict=True))
        for name, turns in found.items()
        if name != OURS
    }
    trainer, kopf = ratios.values()
    return [
        row("real-jobs-per-second", what, ours, "jobs/s", peers=speeds),
        row("real-over-trainer", "that, over Kubeflow Trainer with JobSet", trainer, "x", goal=3),
        row("real-over-kopf", "that, over a kopf operator with the same writes", kopf, "x"),
    ]


def _costs(found: dict[str, list[Turn]]) -> list[Row]:
    """Return where the time goes."""

    def per_job(attribute: str) -> dict[str, float]:
        return {
            name: 1000 * statistics.median(getattr(turn, attribute) for turn in turns) / JOBS
            for name, turns in found.items()
        }

    server, operator = per_job("server_s"), per_job("operator_s")
    return [
        row(
            "real-server-time",
            "processor time of API server and etcd for a job",
            server.pop(OURS),
            "ms",
            better="lower",
            peers=server,
        ),
        row(
            "real-operator-time",
            "processor time of the operator for a job",
            operator.pop(OURS),
            "ms",
            better="lower",
            peers=operator,
        ),
    ]


def _requests(alone: counting.Requests, many: counting.Requests) -> list[Row]:
    of_many = f"of a job until training, {JOBS} at once"
    writes, reads = many.writes.total() / JOBS, many.reads.total() / JOBS
    goal = alone.writes.total()
    return [
        row("real-writes", f"writes {of_many} (goal: of one alone)", writes, "writes", better="lower", goal=goal),
        row("real-reads", f"reads beside list and watch {of_many}", reads, "reads", better="lower", goal=0),
    ]


async def _alone(cluster: LocalCluster, user: HttpCluster) -> tuple[Recorded, tuple[Turn, counting.Requests]]:
    """Return what is written for one job, and how it went."""
    async with connect(cluster.layout.kubeconfig) as operated:
        recorded = Recorded(operated)
        return recorded, await _operated(cluster, user, recorded, ["first-alone"])


async def _ours(cluster: LocalCluster, user: HttpCluster, count: int, *, prefix: str) -> tuple[Turn, counting.Requests]:
    async with connect(cluster.layout.kubeconfig) as operated:
        return await _operated(cluster, user, operated, [f"{prefix}-{index}" for index in range(count)])


async def _operated(
    cluster: LocalCluster, user: HttpCluster, operated: Cluster, jobs: list[str]
) -> tuple[Turn, counting.Requests]:
    """Return how our operator makes the objects of *jobs*, and what it asks for until it has nothing more to write."""
    for name in jobs:
        await _wanted(user, BERT_JOB, bert_job(name))
    with counting.requests() as asked:
        before = _Clock(cluster, [os.getpid()])
        async with together(_pass_preflights(user), counting.operating(operated, SETTINGS)):
            await _made(user, (names.train_name(name, 0) for name in jobs))
            turn = before.turn()
            await _told(user, jobs)
    await _clear(user)
    return turn, asked


async def _theirs(cluster: LocalCluster, user: HttpCluster, peer: Peer, *, prefix: str) -> Turn:
    jobs = [f"{prefix}-{index}" for index in range(JOBS)]
    with peer.running() as pids:
        # One that has made a job's objects has started, and has its caches.
        await _wanted(user, peer.kind, peer.job("first"))
        await _made(user, [peer.last_of("first")])
        with held(pids):
            for name in jobs:
                await _wanted(user, peer.kind, peer.job(name))
            before = _Clock(cluster, pids)
        await _made(user, map(peer.last_of, jobs))
        turn = before.turn()
    await _clear(user)
    return turn


class _Clock:
    """The moment at which an operator may begin."""

    def __init__(self, cluster: LocalCluster, pids: list[int]) -> None:
        parts = cluster.status().parts.values()
        self._servers = [part.pid for part in parts if part.pid is not None]
        self._pids = pids
        self._server_s, self._operator_s = cpu_seconds(self._servers), cpu_seconds(pids)
        self._began = time.monotonic()

    def turn(self) -> Turn:
        """Return what happened since then."""
        return Turn(
            seconds=time.monotonic() - self._began,
            server_s=cpu_seconds(self._servers) - self._server_s,
            operator_s=cpu_seconds(self._pids) - self._operator_s,
        )


async def _wanted(user: HttpCluster, kind: Kind, obj: Object) -> None:
    """Do what a user does: create *obj*, of a kind that ``Cluster`` may not know."""
    await user.request("POST", collection(kind, "default"), body=obj)


async def _made(user: HttpCluster, jobs: Iterable[str]) -> None:
    """Wait until the batch/v1 *jobs* are there."""
    missing = set(jobs)
    async with asyncio.timeout(300), aclosing(user.changes(JOB)) as changes:
        async for change in changes:
            if change.type == "Added":
                missing.discard(change.object["metadata"]["name"])
            if not missing:
                return


async def _told(user: HttpCluster, jobs: Iterable[str]) -> None:
    """Wait until the status of each of *jobs* tells of its training: nothing more is to be written."""
    missing = set(jobs)
    async with asyncio.timeout(300), aclosing(user.changes(BERT_JOB)) as changes:
        async for change in changes:
            if (change.object.get("status") or {}).get("training") is not None:
                missing.discard(change.object["metadata"]["name"])
            if not missing:
                return


async def _pass_preflights(cluster: Cluster) -> None:
    """Let every preflight Job succeed at once."""
    async for change in cluster.changes(JOB, labels={names.COMPONENT_LABEL: names.PREFLIGHT}):
        if change.type == "Added" and not (change.object.get("status") or {}).get("conditions"):
            await cluster.patch_status(ref_of(change.object), _passed())


def _passed() -> Object:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    holds = {
        "status": "True",
        "lastTransitionTime": now,
        "lastProbeTime": now,
        "reason": "CompletionsReached",
        "message": "",
    }
    conditions = [{"type": kind, **holds} for kind in ("SuccessCriteriaMet", "Complete")]
    times = {"startTime": now, "completionTime": now}
    return {**times, "succeeded": 1, "completedIndexes": "0", "terminating": 0, "ready": 0, "conditions": conditions}


async def _clear(user: HttpCluster) -> None:
    """Remove everything that a turn has made."""
    for kind in MADE:
        await _removed(user, kind)


async def _removed(user: HttpCluster, kind: Kind) -> None:
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
    await user.request("DELETE", collection(kind, "default"), body=options)
