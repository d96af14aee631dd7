"""
The whole way on this machine, no cluster: train, lose a worker, optimize, judge, serve, ask.

    make demo
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import baseline
import conclusion
import questions
import quickstart_data
from timeline import Timeline

from bertjob_api import names
from bertjob_api.cluster import POD
from bertjob_api.parse import parse
from bertjob_api.progress import Progress
from bertjob_cli import jobfile, placing, view
from bertjob_cli.local_run import LocalRun, outcome, started
from bertjob_cli.terminal import Display

JOB = Path(__file__).with_name("quickstart.yaml")
KILL_AFTER = 0.4
"""Share of the training after which a worker is killed."""
LOOK_S = 0.2


def main() -> int:
    """Return 0 when the INT8 model was trained, judged and asked."""
    parser = argparse.ArgumentParser(description="Train, lose a worker, optimize, judge, serve, ask.")
    parser.add_argument(
        "--storage", type=Path, help="keep checkpoints and models here; a second run then trains 0 steps"
    )
    storage = parser.parse_args().storage
    with tempfile.TemporaryDirectory(prefix="bertjob-demo-") as folder, suppress(KeyboardInterrupt):
        return asyncio.run(demo(storage or Path(folder) / "storage", state=Path(folder) / "state"))
    return 130


async def demo(storage: Path, *, state: Path) -> int:
    """Run the quickstart with its storage in a folder and show what happens."""
    began = time.monotonic()
    train, held_out = await asyncio.to_thread(quickstart_data.write, storage / "data")
    labels = len({example.label for example in train})
    print(f"data: {len(train)} sentences to learn {labels} labels from, {len(held_out)} of other modules held out")
    simple = await asyncio.to_thread(baseline.accuracy, storage / "data")
    value = placing.with_storage(jobfile.read(JOB), str(storage))
    job = jobfile.parse(JOB, value, local=True)
    timeline = Timeline()
    async with started(value, job, state=state) as run:
        killing = asyncio.create_task(kill_worker(run, timeline))
        final = await follow(run, timeline)
        killing.cancel()
        if outcome(final) != "Succeeded":
            print("\n".join(view.failure(final)))
            return 1
        url = final["status"]["rollout"]["url"]
        await asyncio.to_thread(conclusion.show, final, url=url, timeline=timeline, simple=simple)
        print(f"\nwhole demo: {time.monotonic() - began:.0f} s")
        if sys.stdin.isatty():
            await asyncio.to_thread(converse, final)
    return 0


async def follow(run: LocalRun, timeline: Timeline) -> dict[str, Any]:
    """Show the job until it has ended."""
    display = Display(sys.stdout)
    async with display.alive():
        async for value in run.changes():
            timeline.follow(value)
            display.show(view.screen(value))
            if outcome(value) is not None:
                return value
    raise AssertionError("a watch never ends")


async def kill_worker(run: LocalRun, timeline: Timeline) -> None:
    """Kill -9 one training process mid-way and note what it cost."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        victim, before = await _mid_training(run, session)
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        timeline.note(f"kill -9 of a worker at step {before.step}")
        resumed = await _until_back(run, session, step=before.step or 0)
        lost = time.monotonic() - killed
        timeline.note(f"resumed from step {resumed}, back at step {before.step}: {lost:.1f} s lost")


async def _mid_training(run: LocalRun, session: aiohttp.ClientSession) -> tuple[int, Progress]:
    """Return a worker to kill and the leading progress, once a checkpoint is committed and enough steps are done."""
    while True:
        answers = await _progress(run, session)
        lead = next((each for each in answers if each.rank == 0), None)
        workers = [worker for each in answers for worker in each.workers if worker.rank != 0]
        if lead is not None and workers and _is_mid_training(lead):
            return workers[0].pid, lead
        await asyncio.sleep(LOOK_S)


def _is_mid_training(lead: Progress) -> bool:
    return bool(lead.last_checkpoint and lead.step and lead.total and lead.step >= KILL_AFTER * lead.total)


async def _until_back(run: LocalRun, session: aiohttp.ClientSession, *, step: int) -> int:
    """Return the step that the workers resumed from, when they are past *step* again."""
    while True:
        for each in await _progress(run, session):
            if each.rank == 0 and each.resumed_from_step is not None and (each.step or 0) > step:
                return each.resumed_from_step
        await asyncio.sleep(LOOK_S)


async def _progress(run: LocalRun, session: aiohttp.ClientSession) -> list[Progress]:
    pods = await run.cluster.list(POD, labels={names.COMPONENT_LABEL: names.TRAIN})
    found = []
    for pod in pods:
        with suppress(aiohttp.ClientError, TimeoutError, KeyError):
            async with session.get(f"http://{pod['status']['podIP']}:{names.PROGRESS_PORT}/progress") as answer:
                found.append(parse(Progress, await answer.json(), path="progress"))
    return found


def converse(final: dict[str, Any]) -> None:
    """Let a person ask until an empty line."""
    url, model = final["status"]["rollout"]["url"], final["spec"]["serving"]["inferenceService"]
    print("\nyour own sentence (Enter ends):")
    while sentence := input("> ").strip():
        [answer] = questions.v1(url, model, [sentence])
        print(f"  {answer.label} ({answer.score:.2f})")


if __name__ == "__main__":
    sys.exit(main())
