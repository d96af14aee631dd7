"""``bertjob run``: a BertJob from data to an answer, without a cluster."""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from bertjob_api.cluster import InvalidError, Object
from bertjob_api.job import BertJob
from bertjob_cli import jobfile, placing, report, view
from bertjob_cli.local_run import LocalRun, outcome, started
from bertjob_cli.terminal import Display

OK, FAILED, USAGE = 0, 1, 2


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "run", help="run a BertJob without a cluster", description="Run a BertJob on this machine, without a cluster."
    )
    parser.add_argument("file", type=Path, help="YAML file with one BertJob")
    parser.add_argument("--storage", metavar="DIR|s3://...", help="use this instead of spec.storage.prefix")
    parser.add_argument("--state", type=Path, metavar="DIR", help="keep the pods' files and logs here")
    parser.add_argument("--serve", action="store_true", help="go on serving after success until Ctrl-C")
    parser.add_argument("-o", "--output", choices=("json",), help="print the final object on stdout")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Return 0 when the job succeeded, 1 when it failed, 2 when it could not be started."""
    value = placing.with_storage(jobfile.read(options.file), options.storage)
    job = jobfile.parse(options.file, value, local=True)
    if (problem := placing.storage_problem(job, os.environ)) is not None:
        raise jobfile.JobFileError(str(options.file), [problem])
    if options.storage and Path(options.storage).is_file():
        raise ValueError(f"--storage {options.storage}: is a file, expected a folder or s3://bucket/path")
    state = state_folder(job.name, options.state)
    try:
        final = asyncio.run(_run(value, job, state=state, serve=options.serve))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from what is in storage\n")
        if options.state is None:
            shutil.rmtree(state, ignore_errors=True)
        raise
    succeeded = outcome(final) == "Succeeded"
    _report(final, state)
    if options.output == "json":
        json.dump(final, sys.stdout, indent=2)
        sys.stdout.write("\n")
    if succeeded and options.state is None:
        shutil.rmtree(state, ignore_errors=True)
    return OK if succeeded else FAILED


def state_folder(name: str, wanted: Path | None) -> Path:
    """Return a folder for one run's files: *wanted*, or a new one below the user's state folder."""
    if wanted is not None:
        return wanted.absolute()
    root = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "bertjob" / "runs"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"state folder {root}: {error.strerror}; use --state DIR or set XDG_STATE_HOME") from error
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=root))


async def _run(value: Object, job: BertJob, *, state: Path, serve: bool) -> Object:
    display = Display()
    try:
        async with started(value, job, state=state) as run:
            final = await follow(run, display)
            if serve and outcome(final) == "Succeeded":
                await _hold(final)
    except BaseExceptionGroup as group:
        raise _only(group) from group
    return final


async def follow(run: LocalRun, display: Display) -> Object:
    """Show the job until it has ended and return it as it then is."""
    async with display.alive():
        async for value in run.changes():
            display.show(view.screen(value))
            if outcome(value) is not None:
                return value
    raise AssertionError("a watch never ends")


async def _hold(final: Object) -> None:
    url = (final["status"].get("rollout") or {}).get("url")
    sys.stderr.write(f"serving at {url}; Ctrl-C ends it\n" if url else "nothing is served; spec.serving is not set\n")
    if url:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            sys.stderr.write("\n")


def _report(final: Object, state: Path) -> None:
    status: dict[str, Any] = final.get("status", {})
    lines = view.evaluation(status)
    if final["spec"].get("training", {}).get("command") is None and (place := report.place(final)) is not None:
        lines.append(f"  report: {place}")
    if outcome(final) == "Failed":
        lines += [*view.failure(final), f"  logs of all pods: {state / 'pods'}"]
    sys.stderr.write("".join(f"{line}\n" for line in lines))


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first cause: the others are its echoes in the tasks beside it."""
    first = group.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return _only(first)
    return ValueError(str(first)) if isinstance(first, InvalidError) else first
