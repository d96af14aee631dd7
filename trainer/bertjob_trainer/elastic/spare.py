"""
The worker that a node keeps ready for one that dies: it has loaded torch and read the inputs, and lacks a number and the model.

Without it a new worker takes seconds to come, in which the node's share of the computing is lost. It holds no model, so that it
costs neither the memory of one nor any of an accelerator. Touches nothing of torch but the handlers of its processes.
"""

import logging
import os
import signal
from typing import Any, Final

from torch.distributed.elastic.multiprocessing.subprocess_handler import get_subprocess_handler

from bertjob_api import names
from bertjob_trainer.elastic.places import Places
from bertjob_trainer.elastic.streams import SPARE, PipedLogs

_log = logging.getLogger(__name__)

_TRIES: Final = 3
"""Deaths in a row after which none is started any more: what it dies of would only be met again."""

_SILENCE_S: Final = 5.0
"""One that has not beaten for so long is not relied on."""


class Spare:
    """One node's spare worker."""

    def __init__(self, places: Places, logs: PipedLogs) -> None:
        self._places = places
        self._logs = logs
        self._handler: Any = None
        self._deaths = 0

    def keep(self, context: Any) -> None:
        """Start one if none lives; *context* is torch's of this node's workers."""
        if self._handler is not None and self._handler.proc.poll() is not None:
            self._deaths += 1
            self.end()
            if self._deaths == _TRIES:
                _log.warning("launcher: the spare worker died %d times; none is kept any more", _TRIES)
        if self._handler is None and self._deaths < _TRIES:
            self._handler = self._start(context)

    @property
    def is_ready(self) -> bool:
        """Return whether it lives and waits for a number."""
        return (
            self._handler is not None
            and self._handler.proc.poll() is None
            and self._places.is_spare(self._handler.proc.pid)
            and self._places.silence_s(self._handler.proc.pid) < _SILENCE_S
        )

    def take(self, local_rank: int) -> Any:
        """Give it a number and return its handler, which the caller watches from now on; it must be ready."""
        assert self.is_ready, "only a spare worker that is ready can be taken; this is a bug"
        handler, self._handler, self._deaths = self._handler, None, 0
        handler.local_rank_id = local_rank
        self._logs.adopt(local_rank)
        self._places.number(handler.proc.pid, local_rank)
        return handler

    def end(self) -> None:
        """End it, at once: it holds nothing that is worth saving."""
        if self._handler is None:
            return
        if self._handler.proc.poll() is None:
            os.killpg(self._handler.proc.pid, signal.SIGKILL)  # it leads a session of its own
            self._handler.proc.wait()
        close_streams(self._handler)
        self._handler = None

    def _start(self, context: Any) -> Any:
        result_file = os.environ.get(names.RESULT_FILE_ENV, "")
        env = dict(context.envs[0])
        # Without a file: its troubles are not the training's.
        env |= {"RANK": "spare", "LOCAL_RANK": str(SPARE), names.SPARE_ENV: result_file, names.RESULT_FILE_ENV: ""}
        stdout, stderr = self._logs.spare(env)
        handler = get_subprocess_handler(
            entrypoint=context.entrypoint,
            args=context.args[0],
            env=env,
            stdout=stdout,
            stderr=stderr,
            local_rank_id=SPARE,
            numa_options=None,
        )
        self._logs.started()
        return handler


def close_streams(handler: Any) -> None:
    """Close our ends of the pipes of a process that has ended; the handler's own ``close`` would signal it."""
    for stream in (handler._stdout, handler._stderr):  # noqa: SLF001  # torch offers no other way
        stream.close()
