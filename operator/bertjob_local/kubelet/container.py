"""One container over its life: started, probed, restarted, stopped."""

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bertjob_local.kubelet import launch as launches
from bertjob_local.kubelet import probes, process
from bertjob_local.kubelet.env import ConfigError, Surroundings
from bertjob_local.kubelet.images import ImageError
from bertjob_local.kubelet.logs import LogRange
from bertjob_local.kubelet.records import Ended, Record, Running, Waiting, runs_again
from bertjob_local.kubelet.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """What all containers of a pod share."""

    uid: str
    root: Path
    folders: Mapping[str, Path]
    pod_ip: str
    grace_s: float
    """What a container gets to end when a probe condemned it."""
    around: Callable[[], Awaitable[Surroundings]]
    """Reads what the containers may refer to, afresh."""
    changed: Callable[[], None]
    """Called at each change of a record."""
    settings: Settings


class Container:
    """Runs one container under a restart policy; ``record`` always tells where it is."""

    def __init__(self, spec: Mapping[str, Any], home: Home, *, policy: str, restarts: int = 0) -> None:
        self._spec = spec
        self._home = home
        self._policy = policy
        self._stopping = asyncio.Event()
        self._process: process.Process | None = None
        self._crashes = 0
        self.log: LogRange | None = None
        """What the newest start wrote."""
        self.previous_log: LogRange | None = None
        """What the start before wrote."""
        self.record = Record(name=spec["name"], image=spec.get("image", ""), restarts=restarts)

    async def run(self) -> Ended | None:
        """Return how the container ended for good; None when it was stopped before it ever ran."""
        while not self._stopping.is_set():
            launch = await self._launch()
            if launch is None:
                continue
            ended = await self._run_once(launch)
            if self._stopping.is_set() or not runs_again(self._policy, ended.exit_code):
                return ended
            await self._back_off(ended)
        return self.record.last

    async def stop(self, grace_s: float) -> None:
        """End the container: SIGTERM, after *grace_s* seconds SIGKILL; return when nothing of it is left."""
        self._stopping.set()
        if self._process is not None:
            await self._process.stop(grace_s)

    def kill(self) -> None:
        """End the container at once."""
        self._stopping.set()
        if self._process is not None:
            self._process.kill()

    @property
    def is_running(self) -> bool:
        """Return whether a process runs."""
        return self._process is not None

    def _next_log(self, launch: launches.Launch) -> int:
        """Return the offset at which the start that comes now begins to write."""
        size = launch.log.stat().st_size if launch.log.exists() else 0
        self.previous_log = None if self.log is None else replace(self.log, end=size)
        self.log = LogRange(path=launch.log, start=size, end=None)
        return size

    def _set(self, **changes: Any) -> None:
        self.record = replace(self.record, **changes)
        self._home.changed()

    async def _launch(self) -> launches.Launch | None:
        """Return what to start, or None after a pause when that is not possible yet."""
        home = self._home
        try:
            around = await home.around()
            return launches.plan(self._spec, around, root=home.root, folders=home.folders, mapped=home.settings.images)
        except ImageError as error:
            self._set(state=Waiting(reason="ErrImagePull", message=str(error)))
            await self._stopping.wait()
        except ConfigError as error:
            self._set(state=Waiting(reason="CreateContainerConfigError", message=str(error)))
            await self._pause(home.settings.retry)
        return None

    async def _run_once(self, launch: launches.Launch) -> Ended:
        since = datetime.now(UTC)
        if shutil.which(launch.argv[0], path=launch.env["PATH"]) is None:
            message = f'exec: "{launch.argv[0]}": executable file not found in $PATH'
            ended = Ended(exit_code=128, reason="StartError", message=message, since=since, until=since)
            self._set(state=ended, is_started=False, is_ready=False)
            return ended
        log_start = self._next_log(launch)
        self._process = process.start(
            launch.argv, env=launch.env, folder=launch.folder, log=launch.log, uid=self._home.uid
        )
        self._set(state=Running(since=since), is_started="startupProbe" not in self._spec, is_ready=False)
        probing = asyncio.create_task(self._probe(self._process, launch))
        try:
            code = await self._process.wait()
        finally:
            probing.cancel()
            self._process.kill()
            self._process = None
        policy = self._spec.get("terminationMessagePolicy", "File")
        message = launches.message_of(launch, policy=policy, exit_code=code, log_start=log_start)
        ended = Ended(exit_code=code, message=message, since=since, until=datetime.now(UTC))
        self._set(state=ended, is_started=False, is_ready=False)
        return ended

    async def _back_off(self, ended: Ended) -> None:
        settings = self._home.settings
        self._crashes = 0 if ended.until - ended.since >= settings.forget_crashes_after else self._crashes
        delay = timedelta()
        if self._crashes:
            delay = min(settings.crash_backoff * 2 ** min(self._crashes - 1, 30), settings.max_crash_backoff)
        self._crashes += 1
        message = f"back-off {delay.total_seconds():g}s restarting failed container={self.record.name}"
        self._set(state=Waiting(reason="CrashLoopBackOff", message=message), last=ended)
        await self._pause(delay)
        if not self._stopping.is_set():
            self._set(restarts=self.record.restarts + 1)

    async def _pause(self, delay: timedelta) -> None:
        """Wait, but not longer than until the container is to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay.total_seconds()):
                await self._stopping.wait()

    async def _probe(self, running: process.Process, launch: launches.Launch) -> None:
        """Follow the probes of one start."""
        if "startupProbe" in self._spec and not await self._started(running, launch):
            return
        async with asyncio.TaskGroup() as group:
            if "livenessProbe" in self._spec:
                group.create_task(self._watch_life(running, launch))
            if "readinessProbe" in self._spec:
                group.create_task(self._watch_readiness(launch))
            else:
                self._set(is_ready=True)

    async def _started(self, running: process.Process, launch: launches.Launch) -> bool:
        """Return whether the startup probe succeeded; a container that did not start is ended."""
        holds = await self._verdicts("startupProbe", launch, at_first=None).changed()
        if holds:
            self._set(is_started=True)
        else:
            await running.stop(self._home.grace_s)
        return holds

    async def _watch_life(self, running: process.Process, launch: launches.Launch) -> None:
        await self._verdicts("livenessProbe", launch, at_first=True).changed()
        await running.stop(self._home.grace_s)

    async def _watch_readiness(self, launch: launches.Launch) -> None:
        verdicts = self._verdicts("readinessProbe", launch, at_first=False)
        while True:
            self._set(is_ready=await verdicts.changed())

    def _verdicts(self, name: str, launch: launches.Launch, *, at_first: bool | None) -> probes.Verdicts:
        probe = self._spec[name]
        ports = {each["name"]: each["containerPort"] for each in self._spec.get("ports", ()) if "name" in each}

        async def execute(words: list[str]) -> int:
            return await self._execute(words, launch)

        async def once() -> bool:
            return await probes.check(probe, host=self._home.pod_ip, ports=ports, run=execute)

        return probes.Verdicts(once, probes.timing(probe), at_first=at_first)

    async def _execute(self, words: list[str], launch: launches.Launch) -> int:
        """Run the command of a probe beside the container and return its exit code."""
        argv = [launch.local(word) for word in words]
        log = launch.log.with_suffix(".probes.log")
        running = process.start(argv, env=launch.env, folder=launch.folder, log=log, uid=self._home.uid)
        try:
            return await running.wait()
        finally:
            running.kill()
