"""Order and options that every test shares."""

import signal

import pytest
from hypothesis import HealthCheck, settings

# The same examples in every run, and no limits of time: a commit that changes nothing cannot fail, on however busy a machine.
# `--hypothesis-profile=explore` looks for new ones.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fixed", UNTIMED, derandomize=True)
settings.register_profile("explore", UNTIMED, derandomize=False)
settings.load_profile("fixed")

# A shell that runs us in the background has SIGINT ignored, and every program that a test interrupts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["support.cluster"]  # as a plugin, a cluster is one per run and not one per folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Run what needs a cluster after the rest, and slow tests last: a mistake shows in seconds.

    With several processes all tests that need a cluster go to one of them, so that each cluster is started once.
    """
    for item in items:
        if "cluster" in item.keywords:
            item.add_marker(pytest.mark.xdist_group("cluster"))
    items.sort(key=lambda item: ("slow" in item.keywords, "cluster" in item.keywords))
