"""Nodes of one rendezvous against a real store, which goes away and comes back empty, or which they reach one after the other."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from support.s3_gateway import free_port
from support.waiting import eventually

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


def test_round_takes_in_all_that_wait(store: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that may train alone waits for none, but for those that stand in line: left out, they would end its round at once."""
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")  # as the launcher has it
    found = [
        Rendezvous.join(
            StoreBackend("127.0.0.1", store["port"], run_id="r"),
            run_id="r",
            nodes=(1, 4),
            address=f"127.0.0.{index}",
            last_call_s=0.001,
        )
        for index in (2, 3, 4)
    ]
    first, *others = found
    try:
        assert first.next_rendezvous().world_size == 1
        with ThreadPoolExecutor(len(others)) as pool:
            waiting = [pool.submit(each.next_rendezvous) for each in others]
            eventually(lambda: first.num_nodes_waiting() == len(others))
            worlds = [first.next_rendezvous().world_size, *(each.result().world_size for each in waiting)]
        assert worlds == [3, 3, 3]
    finally:
        for node in found:
            node.close()


def test_rounds_that_are_brief_make_patient(nodes: list[Rendezvous]) -> None:
    """Each round that was over at once doubles the wait for late nodes, up to that of new ones."""

    def waits(**how: Any) -> float:
        nodes[0].be_patient(**how)
        return nodes[0]._settings.timeout.last_call.total_seconds()

    assert [waits(is_new=False, brief_rounds=count) for count in (0, 1, 2, 9)] == [0.25, 0.5, 1, 5]
    assert waits(is_new=True, brief_rounds=0) == 5
