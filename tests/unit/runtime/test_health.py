"""Probes and metrics as the kubelet and Prometheus read them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bertjob_operator.runtime import health
from bertjob_operator.runtime.controller import Reconciled
from bertjob_operator.runtime.lease import Api, Elector
from bertjob_operator.runtime.metrics import Metrics
from bertjob_operator.runtime.queue import WorkQueue


@asynccontextmanager
async def _served(**options: Any) -> AsyncIterator[str]:
    async with health.serve(host="127.0.0.1", port=0, **options) as port:
        yield f"http://127.0.0.1:{port}"


async def _get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_ready_while_every_check_holds() -> None:
    """/readyz names the checks that fail, and turns with them."""
    state = {"synced": False}
    checks = {"caches synced": lambda: state["synced"], "always": lambda: True}
    async with _served(ready=checks) as url:
        before = await _get(f"{url}/readyz")
        state["synced"] = True
        after = await _get(f"{url}/readyz")

    assert before == (503, "not yet: caches synced\n")
    assert after == (200, "ok\n")


async def test_healthy_by_answering() -> None:
    """/healthz is fine while the event loop turns, ready or not, unless a check of its own fails."""
    async with _served(ready={"never": lambda: False}) as url:
        assert await _get(f"{url}/healthz") == (200, "ok\n")
    async with _served(ready={}, healthy={"watch": lambda: False}) as url:
        assert await _get(f"{url}/healthz") == (503, "not yet: watch\n")


async def test_nothing_else_is_served() -> None:
    """Other paths do not exist."""
    async with _served(ready={}) as url:
        assert (await _get(f"{url}/debug"))[0] == 404


async def test_metrics_of_the_runtime(caplog: pytest.LogCaptureFixture) -> None:
    """Turns are counted by result and timed; queue depth and leadership are read when asked for."""
    metrics = Metrics()
    elector = Elector(cast("Api", None), namespace="n", name="x", identity="me")  # it does not run
    queue: WorkQueue[str] = WorkQueue()
    metrics.watch_leader(elector)
    metrics.watch_queue(queue)
    queue.add("a")
    elector.leading = True
    metrics.observe(Reconciled(key="a", duration=timedelta(seconds=0.2), result="done"))
    metrics.observe(Reconciled(key="a", duration=timedelta(seconds=0.3), result="retry", error=OSError("x")))
    async with _served(ready={}, metrics=metrics.text) as url:
        _, text = await _get(f"{url}/metrics")

    found = {
        (sample.name, sample.labels.get("result")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["bertjob_reconcile_total", "done"] == 1
    assert found["bertjob_reconcile_total", "retry"] == 1
    assert found["bertjob_reconcile_duration_seconds_sum", None] == pytest.approx(0.5)
    assert found["bertjob_queue_depth", None] == 1
    assert found["bertjob_leader", None] == 1
    assert found["process_open_fds", None] > 0
    assert len(caplog.records) == 1
