"""Two nodes of one rendezvous against a real store that goes away and comes back empty."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from support.s3_gateway import free_port

from bertjob_trainer.elastic.rendezvous import Rendezvous, StoreBackend
from bertjob_trainer.store import serve

LONG_AWAY = timedelta(minutes=5)


@pytest.fixture
def store() -> Iterator[dict[str, Any]]:
    """Give a running store: its port, and the server, which a test may drop and start again."""
    port = free_port()
    found = {"port": port, "server": serve("127.0.0.1", port)}
    yield found
    found.clear()


@pytest.fixture
def nodes(store: dict[str, Any]) -> Iterator[list[Rendezvous]]:
    """Give two nodes that have met."""
    found = [
        Rendezvous.join(
            StoreBackend("127.0.0.1", store["port"], run_id="r"), run_id="r", nodes=(2, 2), address=f"127.0.0.{index}"
        )
        for index in (2, 3)
    ]
    threads = [threading.Thread(target=node.next_rendezvous) for node in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    yield found
    for node in found:
        node.close()


def _age(node: Rendezvous) -> None:
    """Make the node's picture of the rendezvous as old as if the store had been away for long."""
    state = node._state_holder.state
    state.last_heartbeats = {key: at - LONG_AWAY for key, at in state.last_heartbeats.items()}


def test_write_left_over_costs_no_round(store: dict[str, Any], nodes: list[Rendezvous]) -> None:
    """What a node could not write when the store went does not make its neighbour look dead when the store is back."""
    assert [node.num_nodes_waiting() for node in nodes] == [0, 0]
    for node in nodes:
        node._stop_heartbeats()  # so that the write which is left over is this one
        node._state_holder.mark_dirty()
        _age(node)
    del store["server"]

    away = [node.num_nodes_waiting() for node in nodes]
    store["server"] = serve("127.0.0.1", store["port"])
    back = []
    while any(node._away for node in nodes):
        back += [node.num_nodes_waiting() for node in nodes]

    assert away == [0, 0]
    assert set(back) == {0}
    assert [node.present() for node in nodes] == [2, 2]
