"""The legs of the benchmark: BertJob and stock torchrun, on the same schedule of kills, with the same computing."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support import training_pods, workers
from support.training_pods import Pods

from bertjob_api.job import parse_job, resolved

HERE = Path(__file__).parent
BATCH, MICRO = 32, 2
SAVE_STEPS = 10
_LINE = re.compile(
    r"stepping again after ([\d.]+) s \(a (loss|change of size)\): "
    r"detect ([\d.]+), place ([\d.]+), form ([\d.]+), restore ([\d.]+), first step ([\d.]+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done to both sides."""

    nodes: int
    step_s: float
    """Computing of one step with all nodes."""
    every_s: float
    """Time between two kills."""
    seconds: float
    """How long the kills go on, and a quarter as long the undisturbed leg."""

    @property
    def seconds_per_sample(self) -> float:
        """Return the computing of a sample on one node."""
        return self.step_s * self.nodes / BATCH

    @property
    def what(self) -> str:
        """Return it in words."""
        return f"{self.nodes} nodes, a kill every {self.every_s:g} s for {self.seconds:g} s"

    def rounds(self, *, kills: bool) -> int:
        """Return how many times ``every_s`` a leg takes."""
        return max(1, round(self.seconds / self.every_s / (1 if kills else 4)))


@dataclass(slots=True)
class Leg:
    """What was seen of one training."""

    points: list[tuple[float, int, float | None]] = field(default_factory=list)
    """Unix time, step, and loss."""
    events: list[tuple[float, str]] = field(default_factory=list)
    ended: float = 0.0
    """Unix time until which it was watched; a training that stands still then has no point for it."""
    recoveries: list[dict[str, float]] = field(default_factory=list)
    """Of survivors of a loss: ``seconds`` and the phases."""

    def rate(self) -> float:
        """Return the steps per second from the first point on."""
        (first, begin, _), (_, end, _) = self.points[0], self.points[-1]
        return (end - begin) / (self.ended - first)

    def stood_still(self) -> list[float]:
        """Return for each kill the seconds until a step was done that had not been done before it."""
        found = []
        for at, what in self.events:
            best = max((step for when, step, _ in self.points if when <= at), default=0)
            later = next((when for when, step, _ in self.points if when > at and step > best + 1), None)
            if what == "kill" and later is not None:
                found.append(later - at)
        return found


def watch(leg: Leg, look: Callable[[], tuple[int, float | None] | None], *, until: float) -> None:
    """Note steps until a Unix time."""
    while time.time() < until:
        seen = look()
        if seen is not None and (not leg.points or seen[0] != leg.points[-1][1]):
            leg.points.append((time.time(), *seen))
        time.sleep(0.05)
    leg.ended = time.time()


@contextmanager
def bertjob(folder: Path, plan: Plan, **training: Any) -> Iterator[Pods]:
    """Give the pods of a job, all of them training."""
    settings = {
        "epochs": 10_000,
        "batchSize": BATCH,
        "microBatchSize": MICRO,
        "learningRate": 1e-3,
        "warmupRatio": 0.0,  # of so many steps it would take all the time there is
        "replicas": plan.nodes,
        "elastic": {"min": 1, "max": plan.nodes, "spare": True},
        "checkpoint": {"every": f"{SAVE_STEPS} steps"},
        **training,
    }
    spec = resolved(parse_job(workers.a_toy_job(folder, **settings), local=True))
    env = {"BENCH_SECONDS_PER_SAMPLE": str(plan.seconds_per_sample)}
    with training_pods.running(folder, spec, env=env, modules=HERE / "sleeping") as pods:
        for index in range(2, 2 + plan.nodes):
            pods.start(index)
        pods.until(2, lambda seen: seen.get("worldSize") == plan.nodes and (seen.get("step") or 0) > 1)
        yield pods


def newest(pods: Pods, indexes: list[int]) -> tuple[int, float | None] | None:
    """Return step and loss of the pod that is furthest."""
    found = [pods.progress(index) for index in indexes]
    told = [(seen["step"], seen.get("loss")) for seen in found if seen.get("step")]
    return max(told, key=lambda each: each[0], default=None)


def ours(folder: Path, plan: Plan, *, kills: bool) -> Leg:
    """Return how BertJob trained."""
    leg, rng = Leg(), random.Random(1)  # noqa: S311
    indexes = list(range(2, 2 + plan.nodes))
    with bertjob(folder, plan) as pods:
        look = lambda: newest(pods, indexes)  # noqa: E731
        watch(leg, look, until=time.time() + plan.every_s / 2)
        for _ in range(plan.rounds(kills=kills)):
            if kills:
                living = pods.progress(rng.choice(indexes)).get("workers") or []
                leg.events.append((time.time(), "kill" if living else "nobody to kill"))
                for worker in living[:1]:
                    os.kill(worker["pid"], signal.SIGKILL)
            watch(leg, look, until=time.time() + plan.every_s)
        leg.recoveries = [each for index in indexes for each in told(pods.log(index))]
    return leg


def changing(folder: Path, plan: Plan) -> Leg:
    """Return how BertJob trained while a worker was killed, a node was lost, and two came."""
    leg, nodes = Leg(), plan.nodes
    indexes = list(range(2, 4 + nodes))
    with bertjob(folder, plan, elastic={"min": 1, "max": nodes + 1, "spare": True}) as pods:
        look = lambda: newest(pods, indexes)  # noqa: E731

        def happens(what: str, act: Callable[[], None]) -> None:
            watch(leg, look, until=time.time() + plan.every_s)
            leg.events.append((time.time(), what))
            act()

        happens("worker killed", lambda: os.kill(pods.progress(2)["workers"][0]["pid"], signal.SIGKILL))
        happens("node lost", lambda: pods.signal(3, signal.SIGKILL))
        happens("two nodes come", lambda: [pods.start(index) for index in (2 + nodes, 3 + nodes)] and None)
        happens("worker killed", lambda: os.kill(pods.progress(4)["workers"][0]["pid"], signal.SIGKILL))
        watch(leg, look, until=time.time() + plan.every_s)
    return leg


def told(log: str) -> list[dict[str, float]]:
    """Return the recoveries from losses that a pod's log tells of."""
    names = ("seconds", "detect", "place", "form", "restore", "first step")
    lines = [match.groups() for match in _LINE.finditer(log)]
    return [dict(zip(names, map(float, (line[0], *line[2:])), strict=True)) for line in lines if line[1] == "loss"]


def stock(folder: Path, plan: Plan, *, kills: bool) -> Leg:
    """Return how stock torchrun trained, of which only workers are killed: it never recovers from the loss of its first node."""
    leg, rng = Leg(), random.Random(1)  # noqa: S311
    folder.mkdir()
    steps = folder / "steps"
    with _agents(folder, plan) as agents:
        _await(lambda: _last(steps) is not None)
        look = lambda: _last(steps)  # noqa: E731
        watch(leg, look, until=time.time() + plan.every_s / 2)
        for _ in range(plan.rounds(kills=kills)):
            if kills:
                found = _workers(rng.choice(agents).pid)
                leg.events.append((time.time(), "kill" if found else "nobody to kill"))
                for pid in found[:1]:
                    os.kill(pid, signal.SIGKILL)
            watch(leg, look, until=time.time() + plan.every_s)
    return leg


@contextmanager
def _agents(folder: Path, plan: Plan) -> Iterator[list["subprocess.Popen[bytes]"]]:
    network = f"127.{random.randrange(128, 250)}.{random.randrange(1, 250)}"  # noqa: S311
    port = workers.free_port()
    env = {
        "PATH": os.environ["PATH"],
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "BENCH_SECONDS_PER_SAMPLE": str(plan.seconds_per_sample),
    }
    agents = []
    with (folder / "log").open("wb") as log:
        for index in range(plan.nodes):
            argv = [sys.executable, "-m", "torch.distributed.run", f"--nnodes=1:{plan.nodes}", "--nproc-per-node=1"]
            argv += ["--rdzv-backend=c10d", f"--rdzv-endpoint={network}.1:{port}", "--rdzv-id=bench"]
            argv += [f"--rdzv-conf=is_host={int(index == 0)}", f"--local-addr={network}.{index + 1}"]
            argv += ["--max-restarts=100000", str(HERE / "stock_worker.py"), str(folder), str(BATCH), str(SAVE_STEPS)]
            agents.append(subprocess.Popen(argv, env=env, stdout=log, stderr=log))
    try:
        yield agents
    finally:
        for agent in agents:
            for pid in _workers(agent.pid):
                os.kill(pid, signal.SIGKILL)
            agent.kill()
            agent.wait()


def _workers(agent: int) -> list[int]:
    """Return the workers of a torchrun."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if not entry.name.isdigit() or b"stock_worker.py" not in (entry / "cmdline").read_bytes():
                continue
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == agent:
                found.append(int(entry.name))
        except OSError:
            continue  # ended meanwhile
    return found


def _last(steps: Path) -> tuple[int, float | None] | None:
    if not steps.exists():
        return None
    with steps.open("rb") as file:
        file.seek(max(0, steps.stat().st_size - 200))
        lines = file.read().decode().splitlines()
    return (int(lines[-1].split()[1]), None) if lines and " " in lines[-1] else None


def _await(condition: Callable[[], bool], *, within_s: float = 300) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("stock torchrun did not start; its log tells why")
        time.sleep(0.1)
