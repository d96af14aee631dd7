"""A place on the real API server."""

from collections.abc import Callable

import pytest
from support.cluster import install_crd

from bertjob_local.parts import LocalCluster


@pytest.fixture
def namespace(real_controllers: LocalCluster, make_namespace: Callable[[LocalCluster], str]) -> str:
    """Return a fresh namespace of a cluster that knows BertJobs."""
    install_crd(real_controllers)
    return make_namespace(real_controllers)
