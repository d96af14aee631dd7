"""
The one process that owns a local cluster: ``python -m bertjob_local.parts.supervisor STATE_FOLDER [READY_FD]``.

One thread, one loop: wait for a child's end, a request, a signal, the owner's end or the next step, and act.
Descriptor READY_FD gets one line, ``ready`` or why it failed, once the start is over.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from bertjob_local.parts import child, control, owner, prepare, state
from bertjob_local.parts import settings as settings_file
from bertjob_local.parts.children import Children
from bertjob_local.parts.layout import Layout

START_DEADLINE_S = 180.0
"""For a slow machine under load; an idle one needs seconds."""

_STEP_S = 0.05
_IDLE_STEP_S = 1.0
_LOG_TAIL = 1_500


class Supervisor:
    """The loop and what it holds: children, control socket, owner, state file."""

    def __init__(self, layout: Layout, *, owner_pid: int | None, ready: TextIO | None) -> None:
        self._layout = layout
        self._ready = ready
        self._began = time.monotonic()
        self._id = os.urandom(8).hex()
        self._owner = None if owner_pid is None else os.pidfd_open(owner_pid)
        self._server = control.listen(layout)
        self._ending = False
        self._wakeup = _signals_to_descriptor()

    def run(self, prepared: prepare.Prepared) -> int:
        """Return 0 after an orderly end, 1 when the cluster did not come up."""
        layout = self._layout
        env = child.child_env(os.environ, cluster_id=self._id)
        guard = self._start_guard()
        children = Children(prepared.parts, layout=layout, env=env, trust=prepared.trust)
        seen = prepared.state
        try:
            while not self._ending:
                children.step()
                seen = self._publish(seen, children)
                if seen.phase == "failed":
                    break
                self._wait(children)
        finally:
            children.end()
            child.kill_marked(self._id)
            guard.kill()
            guard.wait()
            last = seen.phase if seen.phase == "failed" else "stopped"
            state.write(replace(seen, phase=last, parts=children.states()), layout.state)
        return 1 if last == "failed" else 0

    def _start_guard(self) -> subprocess.Popen[bytes]:
        argv = (sys.executable, "-m", "bertjob_local.parts.guard", str(os.getpid()), self._id)
        # Without the marker: it must not be among those that it kills.
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=child.child_env(os.environ), start_new_session=True)

    def _publish(self, seen: state.State, children: Children) -> state.State:
        """Write the state file when it would say something new, and tell the starter once."""
        fresh = replace(seen, parts=children.states())
        if seen.phase == "starting":
            fresh = self._after_start_step(fresh, children)
        if fresh != seen:
            state.write(fresh, self._layout.state)
        if fresh.phase != seen.phase:  # after the file: the starter reads it at once
            self._tell_starter("ready" if fresh.phase == "ready" else fresh.message)
        return fresh

    def _after_start_step(self, seen: state.State, children: Children) -> state.State:
        age = time.monotonic() - self._began
        if children.are_up():
            return replace(seen, phase="ready", ready_s=round(age, 2))
        if failed := children.failed():
            return replace(seen, phase="failed", message=failure(failed[0], layout=self._layout))
        if age > START_DEADLINE_S:
            slow = [name for name, phase in children.phases().items() if phase == "starting"]
            message = f"not ready after {age:.0f} s: {', '.join(slow)}; see {self._layout.logs}"
            return replace(seen, phase="failed", message=message)
        return seen

    def _tell_starter(self, line: str) -> None:
        if self._ready is None:
            return
        try:
            self._ready.write(f"{line}\n")
            self._ready.close()
        except BrokenPipeError:
            pass  # whoever started us is gone; `status` tells the same
        self._ready = None

    def _wait(self, children: Children) -> None:
        """Sleep until something happens; requests are answered and an end is noted here."""
        timeout = _IDLE_STEP_S if children.are_up() else _STEP_S
        ends = [self._wakeup.fileno(), *([] if self._owner is None else [self._owner])]
        requests = self._server.fileno()
        readable, _, _ = select.select([requests, *ends, *children.pidfds()], [], [], timeout)
        if not set(ends).isdisjoint(readable):
            self._ending = True
        if requests in readable:
            self._answer(children)

    def _answer(self, children: Children) -> None:
        connection, _ = self._server.accept()
        with connection:
            connection.settimeout(1.0)
            try:
                request = json.loads(control.read_line(connection))
                answer = self._act(request, children)
                connection.sendall(json.dumps(answer).encode() + b"\n")
            except (OSError, json.JSONDecodeError):
                return  # the client went away, or is none of ours

    def _act(self, request: dict[str, Any], children: Children) -> dict[str, Any]:
        """Carry out one request; a refused one comes back as an error for its sender to raise."""
        try:
            match request:
                case {"do": "down"}:
                    self._ending = True
                case {"do": "start", "part": str(part)}:
                    children.start(part)
                case {"do": "signal", "part": str(part), "signal": int(number), "wanted": bool(wanted)}:
                    children.send(part, signal.Signals(number), wanted=wanted)
                case _:
                    return {"error": f"not a request: {request}"}
        except ValueError as error:
            return {"error": str(error)}
        return {}


def failure(part: str, *, layout: Layout) -> str:
    """Return one line that says which part failed and what it said last."""
    log = layout.log_of(part)
    said = log.read_text(errors="replace")[-_LOG_TAIL:] if log.exists() else ""
    return f"{part} ended before it was ready; {log} ends: {' | '.join(said.splitlines())}"


def _signals_to_descriptor() -> socket.socket:
    """Return a socket that becomes readable on the first signal to end."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.detach())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return reader


def main() -> int:
    """Run the cluster whose settings lie in the state folder; the starter hears of any failure."""
    layout = Layout(Path(sys.argv[1]))
    ready = os.fdopen(int(sys.argv[2]), "w") if len(sys.argv) > 2 else None
    try:
        with owner.hold(layout):
            layout.state.unlink(missing_ok=True)  # of an earlier life
            settings = settings_file.read(layout.settings)
            supervisor = Supervisor(layout, owner_pid=settings.owner_pid, ready=ready)
            return supervisor.run(prepare.prepare(layout, settings=settings))
    except (OSError, RuntimeError, ValueError) as error:
        if ready and not ready.closed:
            ready.write(str(error).replace("\n", " | ") + "\n")
            ready.close()
        return 1


if __name__ == "__main__":
    sys.exit(main())
