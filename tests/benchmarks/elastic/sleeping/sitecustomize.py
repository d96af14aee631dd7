"""
Workers whose computing takes a given time and no processor: what is measured is elasticity, on however few cores.

Python imports this module at its start when its folder is in PYTHONPATH; only training workers are changed.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

SECONDS = float(os.environ.get("BENCH_SECONDS_PER_SAMPLE", "0"))


def slowed(loss: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a loss that takes ``SECONDS`` for each sample, as the model would."""

    def compute(outputs: Any, labels: Any) -> Any:
        time.sleep(SECONDS * len(labels))
        return loss(outputs, labels)

    return compute


if SECONDS and "bertjob_trainer.worker" in sys.orig_argv:
    from bertjob_trainer import stop

    blocks_sigterm = stop.on_sigterm

    def on_sigterm() -> stop.Stop:
        """Do what the worker does first, and change the losses once torch may be loaded."""
        flag = blocks_sigterm()
        from bertjob_trainer import losses  # noqa: PLC0415  # loads torch

        for name in losses.OF:
            losses.OF[name] = slowed(losses.OF[name])  # type: ignore[index]
        return flag

    stop.on_sigterm = on_sigterm
