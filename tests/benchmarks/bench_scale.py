"""
How steps scale to 4 hosts on real networks' rates, beside torch's DDP, and how well ``plan-scale`` foretells it. ``make bench-scale``.

Hosts are network namespaces whose links are shaped to 0.5 Gbit/s; gloo's traffic is real. Bytes are a tenth of the model's (an eighth at 1 GbE), and
time is stretched so that a link stands for any rate: a figure of 100 GbE is measured with computing twenty times as long. Computing is a sleep.
Root only. ``--gigabits 10`` measures one network; rows of others that were measured before are kept.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.scale import network
from benchmarks.scale.network import LINK_GIGABITS
from support import benching
from support.benching import Row, row

from bertjob_cli import scaling
from bertjob_cli.scaling import PRESETS, Setting

ROOT = Path(__file__).parents[2]
NODES, WARM_UP = 4, 1
VARIANTS = ("bertjob", "bertjob-bf16", "ddp", "ddp-bf16")
GOAL, GOAL_ERROR = 3.9, 0.05
SETTING = Setting(
    sizes=PRESETS["bert-base"], nodes=NODES, gigabits=10, batch_size=128, micro_batch_size=32, tokens=128, rate=4096
)
"""32 samples of 128 tokens a node and step in one micro-batch, one second of computing."""


def shrunk(setting: Setting) -> int:
    """Return how many times fewer bytes are sent: not so many on slow networks that a step takes less than a quarter of a second."""
    return min(10, max(1, round(4 * setting.gigabits / LINK_GIGABITS)))


def stretched(setting: Setting) -> float:
    """Return how many times longer everything takes here than on the network that is meant."""
    return setting.gigabits / LINK_GIGABITS / shrunk(setting)


def speed_up(variant: str, setting: Setting, hosts: list[tuple[str, str]], *, steps: int) -> float:
    """Return how many times faster than one host the hosts train."""
    computing = scaling.forecast(setting).computing * stretched(setting)
    hidden, fewer = setting.sizes.hidden, shrunk(setting)
    sizes = {
        "shrunk": fewer,
        "dense": setting.sizes.dense // fewer,
        "vocabulary": setting.sizes.vocabulary // fewer,
        "hidden": hidden,
        "rows": round(scaling.words_in(setting) / fewer),
        "seconds": computing,
    }
    taken = _run(variant, sizes, hosts, steps=steps + WARM_UP)[WARM_UP:]
    return NODES * computing / statistics.median(taken)


def _run(variant: str, sizes: dict[str, Any], hosts: list[tuple[str, str]], *, steps: int) -> list[float]:
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("operator", "trainer")),
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "eth0",
        "TORCH_CPP_LOG_LEVEL": "ERROR",  # addresses here have no names, which torch warns of
        "MASTER_ADDR": hosts[0][1],
        "MASTER_PORT": "29500",
        "WORLD_SIZE": str(len(hosts)),
    }
    program = [
        sys.executable,
        str(Path(__file__).parent / "scale" / "worker.py"),
        variant,
        str(steps),
        json.dumps(sizes),
    ]
    processes = [
        subprocess.Popen(
            ["ip", "netns", "exec", name, *program], env={**env, "RANK": str(rank)}, stdout=subprocess.PIPE, text=True
        )
        for rank, (name, _) in enumerate(hosts)
    ]
    try:
        outputs = [process.communicate(timeout=900)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0] * len(hosts), f"{variant} failed; see above"
    taken: list[float] = json.loads(outputs[0].splitlines()[-1])
    return taken


def measured(gigabits: list[float], *, steps: int) -> list[Row]:
    """Return the rows of each network: speed-up, and the error of the forecast."""
    rows = []
    with network.hosts(NODES) as hosts:
        for rate in gigabits:
            setting = replace(SETTING, gigabits=rate)
            found = {name: speed_up(name, setting, hosts, steps=steps) for name in VARIANTS}
            peers = {name: found[name] for name in VARIANTS[2:]}
            for name, size in (("bertjob", 4), ("bertjob-bf16", 2)):
                rows += _compared(name, replace(setting, gradient_bytes=size), found[name], peers=peers)
    return rows


def _compared(name: str, setting: Setting, value: float, *, peers: dict[str, float]) -> list[Row]:
    foretold, kind = scaling.forecast(setting).speed_up, name.removeprefix("bertjob").strip("-") or "fp32"
    goal = GOAL if (setting.gigabits, setting.gradient_bytes) == (SETTING.gigabits, 2) else None
    where = f"{setting.gigabits:g}-{kind}"
    what = f"{setting.gigabits:g} GbE, gradients in {kind}: speed-up on {NODES} hosts"
    told = f"{setting.gigabits:g} GbE, gradients in {kind}: plan-scale says {foretold:.3f}, which is off by"
    return [
        row(f"speed-up-{where}", what, value, "x", goal=goal, peers=peers, roof=NODES),
        row(f"forecast-error-{where}", told, abs(foretold / value - 1), "", goal=GOAL_ERROR, better="lower"),
    ]


def main() -> int:
    """Measure, print a table and write it as JSON; 1 where hosts cannot be made."""
    parser = argparse.ArgumentParser(description="Speed-up on 4 hosts with shaped links.")
    parser.add_argument("--small", action="store_true", help="one network, two steps: to see that it works")
    parser.add_argument("--gigabits", type=float, nargs="+", default=[1, 10, 25, 100])
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    reason = network.why_not()
    if reason is not None:
        sys.stderr.write(f"bench-scale: {reason}\n")
        return 1
    gigabits, steps = ([10.0], 2) if options.small else (options.gigabits, options.steps)
    rows = measured(gigabits, steps=steps)
    machine = {
        "load": os.getloadavg()[0],
        "computing": "replaced by a sleep",
        "links": f"{LINK_GIGABITS:g} Gbit/s, bytes fewer, time stretched",
    }
    benching.write("scale", rows, machine=machine, is_part=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
