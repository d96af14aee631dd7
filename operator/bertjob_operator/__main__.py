"""The operator's process: ``python -m bertjob_operator``."""

import argparse
import asyncio
import json
import logging
import os
import secrets
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from pathlib import Path

from bertjob_api.cluster import BERT_JOB
from bertjob_operator.runtime import health
from bertjob_operator.runtime.http import HttpCluster, connect
from bertjob_operator.runtime.lease import Elector, LeadershipLostError
from bertjob_operator.runtime.metrics import Metrics
from bertjob_operator.shell.job_metrics import JobMetrics
from bertjob_operator.shell.operator import Operator
from bertjob_operator.shell.settings import Settings, from_env

logger = logging.getLogger(__name__)


class JsonLines(logging.Formatter):
    """One JSON object a line; a message that is one already is taken apart."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        message = record.getMessage()
        line = {"time": self.formatTime(record), "level": record.levelname.lower(), "logger": record.name}
        try:
            fields = json.loads(message)
        except ValueError:
            fields = None
        line |= fields if isinstance(fields, dict) else {"message": message}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bertjob_operator", description="Look after the BertJobs of a cluster."
    )
    parser.add_argument("--kubeconfig", type=Path, help="default: $KUBECONFIG, ~/.kube/config, then the pod's own")
    parser.add_argument(
        "--service-account",
        type=Path,
        metavar="DIR",
        help="use the token and ca.crt in DIR, and no kubeconfig; the server is that of $KUBERNETES_SERVICE_HOST",
    )
    parser.add_argument("--no-leader-election", action="store_true", help="lead at once; for a single process")
    parser.add_argument("--lease-namespace", default="", help="default: $POD_NAMESPACE, else default")
    parser.add_argument("--lease-name", default="bertjob-operator")
    parser.add_argument("--health-host", default="", help="address of /healthz, /readyz and /metrics; default: all")
    parser.add_argument("--health-port", type=int, default=8080, help="0: any free one")
    parser.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM or SIGINT and return 0; 1 when leadership was lost, 2 for a mistake of the user."""
    options = arguments(argv)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=options.log_level, handlers=[handler])
    try:
        settings = from_env(os.environ)
        asyncio.run(_serve(options, settings))
    except ValueError as error:
        logger.error("%s", error)  # noqa: TRY400  # a user's mistake needs no traceback
        return 2
    except LeadershipLostError as error:
        # Whatever still runs may not write any more: another process leads.
        logger.error("%s", error)  # noqa: TRY400
        logging.shutdown()
        os._exit(1)
    return 0


async def _serve(options: argparse.Namespace, settings: Settings) -> None:
    async with connect(options.kubeconfig, service_account=options.service_account) as cluster:
        metrics = Metrics()
        jobs = JobMetrics(metrics.registry)
        operator = Operator(cluster, settings, observer=metrics.observe, counted=jobs.count)
        jobs.watch(operator.controller.stores[BERT_JOB])
        metrics.watch_queue(operator.controller.queue)
        elector = None if options.no_leader_election else _elector(cluster, options, settings)
        if elector is not None:
            metrics.watch_leader(elector)

        def is_ready() -> bool:
            # A standby has nothing to wait for: it is ready to take over.
            return (elector is not None and not elector.leading) or operator.controller.synced

        async with health.serve(
            ready={"caches synced": is_ready}, metrics=metrics.text, host=options.health_host, port=options.health_port
        ) as port:
            logger.info("health and metrics on port %d", port)
            await _until_signal(operator.run() if elector is None else elector.run(operator.run))


def _elector(cluster: HttpCluster, options: argparse.Namespace, settings: Settings) -> Elector:
    return Elector(
        cluster,
        namespace=options.lease_namespace or os.environ.get("POD_NAMESPACE") or "default",
        name=options.lease_name,
        identity=f"{settings.instance}-{secrets.token_hex(4)}",
    )


async def _until_signal(work: Coroutine[None, None, None]) -> None:
    """Run *work* until it ends or a signal asks to end; then let it clean up, and raise what it raised."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
