"""
The launcher of one training pod: starts the node's workers together with those of the other nodes.

Exit codes: 0 trained, 42 the input is at fault, 75 try again, 143 ended by SIGTERM after the workers saved. The termination
message of the workers, or what is known of their failure, is in ``BERTJOB_RESULT_FILE``.
"""

import json
import logging
import os
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Final, NoReturn

import torch
from torch.distributed import DistError
from torch.distributed.elastic.agent.server.api import WorkerSpec
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.rendezvous import RendezvousClosedError, RendezvousError, RendezvousTimeoutError

from bertjob_api import names, termination
from bertjob_trainer.elastic import bound, machine, outcome, settings
from bertjob_trainer.elastic.agent import Agent, Outside
from bertjob_trainer.elastic.budget import Budget
from bertjob_trainer.elastic.outcome import FinishedError, Outcome
from bertjob_trainer.elastic.places import Places
from bertjob_trainer.elastic.rendezvous import JOIN_S, LAST_CALL_S, QUICK_LAST_CALL_S, Rendezvous, StoreBackend
from bertjob_trainer.elastic.settings import Settings
from bertjob_trainer.elastic.staying_agent import StayingAgent
from bertjob_trainer.elastic.streams import PipedLogs
from bertjob_trainer.supervisor_http import FAILURES

_log = logging.getLogger(__name__)

_MONITOR_S: Final = 0.1
_RESTARTS: Final = 1_000_000
"""Torch's own limit, out of the way: the budget decides."""
_STORE_TROUBLES: Final = 20


def launch(config: Settings) -> Outcome:
    """Return how training ended on this node, however often workers, nodes or the store failed in between."""
    logs = PipedLogs()
    for _ in range(_STORE_TROUBLES):
        backend = StoreBackend(config.store_host, config.store_port, run_id=config.run_id)
        handler = Rendezvous.join(
            backend,
            run_id=config.run_id,
            nodes=(config.min_nodes, config.max_nodes),
            address=config.address,
            last_call_s=QUICK_LAST_CALL_S if is_own_worker(config) else LAST_CALL_S,
        )
        try:
            return _run(config, handler, logs)
        except FinishedError as finished:
            return finished.outcome
        except SignalException as stop:
            return _evicted(config.result_file, stop.sigval)
        except RendezvousTimeoutError:
            return outcome.failed(termination.RETRY, reason="TooFewNodes", message=_too_few(config))
        except RendezvousClosedError:
            return outcome.failed(termination.RETRY, reason="RendezvousClosed", message=_closed(config))
        except (RendezvousError, DistError) as error:
            _log.warning("launcher: the rendezvous broke off (%s); this node joins again", error)
            time.sleep(1)
        finally:
            handler.close()
            logs.finish()
    return outcome.failed(termination.RETRY, reason="StoreUnreachable", message=_store_away(config))


def _run(config: Settings, handler: Rendezvous, logs: PipedLogs) -> Outcome:
    spec = WorkerSpec(
        role="trainer",
        local_world_size=config.processes,
        entrypoint=sys.executable,
        args=("-I", "-S", bound.__file__, *config.command),
        rdzv_handler=handler,
        max_restarts=_RESTARTS,
        monitor_interval=_MONITOR_S,
        local_addr=config.address,
    )
    outside = Outside(
        step=lambda: reported_step(config.progress_url),
        on_failure=lambda: report_failure(config.progress_url),
        on_signal=_raise_once,
    )
    budget = Budget(limit=config.failure_limit)
    with tempfile.TemporaryDirectory(prefix="bertjob-places-") as places:
        if is_own_worker(config):
            os.environ[names.PLACES_ENV] = places
            agent: Agent = StayingAgent(
                spec,
                logs,
                budget=budget,
                result_file=config.result_file,
                outside=outside,
                places=Places(Path(places)),
                keeps_spare=config.keeps_spare,
            )
        else:  # an own script knows no next place: its workers end with their round
            agent = Agent(spec, logs, budget=budget, result_file=config.result_file, outside=outside)
        try:
            agent.run()
        finally:
            agent.close()
    assert agent.outcome is not None, "the agent ended without an outcome; this is a bug"
    if agent.outcome.code != termination.RETRY:
        handler.shutdown()
    return agent.outcome


def is_own_worker(config: Settings) -> bool:
    """Return whether workers run BertJob's own program, which stays alive when a round ends; an own script does not."""
    return config.command == settings.worker_command(None)


def _raise_once(number: int, _frame: Any) -> NoReturn:
    """Turn the first signal into torch's exception; later ones would tear the orderly end apart."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    raise SignalException(f"got {signal.Signals(number).name}", signal.Signals(number))


def _evicted(result_file: Path, number: signal.Signals) -> Outcome:
    told = result_file.read_text() if result_file.exists() else ""
    if termination.decode(told) is not None:
        return Outcome(code=termination.EVICTED, message=told)
    return outcome.failed(
        termination.EVICTED,
        reason="Evicted",
        message=f"ended by {number.name}; training goes on from the newest checkpoint when the pod is replaced",
    )


def _ask(url: str, *, data: bytes | None = None) -> Any:
    """Return the supervisor's answer, or None when it gives none: training must not depend on it."""
    # No proxy from the environment: the supervisor is on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, data, timeout=2) as answer:
            return json.load(answer)
    except (urllib.error.URLError, ValueError, OSError):
        return None


def reported_step(progress_url: str | None) -> int | None:
    """Return the highest step that workers told the supervisor, or None when none is known."""
    step = (_ask(progress_url) or {}).get("step") if progress_url is not None else None
    return step if isinstance(step, int) else None


def report_failure(progress_url: str | None) -> None:
    """Tell the supervisor that workers are started again."""
    if progress_url is not None:
        _ask(urllib.parse.urljoin(progress_url, FAILURES), data=b"")


def _too_few(config: Settings) -> str:
    return (
        f"rendezvous {config.run_id}: fewer than {config.min_nodes} nodes came within {JOIN_S} s; "
        "look for pods that are not scheduled, or lower training.elastic.min"
    )


def _closed(config: Settings) -> str:
    return f"rendezvous {config.run_id}: was closed without an outcome; a new attempt gets a new one"


def _store_away(config: Settings) -> str:
    return (
        f"rendezvous store {config.store_host}:{config.store_port}: broke off {_STORE_TROUBLES} times; look at its pod"
    )


def worker_env(config: Settings, *, cores: int) -> dict[str, str]:
    """Return what workers get besides torch's variables."""
    env = {
        # Without this a survivor can be given the address of a dead node (pytorch/pytorch#135712).
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        "OMP_NUM_THREADS": str(machine.threads(cores, processes=config.processes)),
    }
    interface = machine.interface_of(config.address)
    if interface is not None:
        env |= {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": interface}
    return env


def main() -> int:
    """Run until training has ended on this node, write the termination message, and return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("torch").setLevel(logging.WARNING)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _raise_once)
    result_file = settings.needed(os.environ, names.RESULT_FILE_ENV)
    try:
        config = settings.from_env(os.environ, gpus=torch.cuda.device_count())
    except ValueError as error:
        ended = outcome.failed(termination.USER_ERROR, reason="InvalidSettings", message=str(error))
    else:
        own = {
            key: value for key, value in worker_env(config, cores=machine.processors()).items() if key not in os.environ
        }
        os.environ.update(own)
        ended = launch(config)
    Path(result_file).write_text(ended.message)
    return ended.code


if __name__ == "__main__":
    sys.exit(main())
