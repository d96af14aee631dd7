"""
Which nodes have died, told by their connections: the kernel closes those of a process that ends, in milliseconds.

Each launcher listens on its pod's address and holds a connection to every other one. A connection that ends, and cannot be made
again because nobody listens there, is a death. A machine that vanishes says nothing at all; heartbeats are for those.
"""

import logging
import selectors
import socket
import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

_log = logging.getLogger(__name__)

_CONNECT_S: Final = 2.0
_LOOK_S: Final = 0.2
"""How soon a node that was named is connected to."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a launcher listens."""

    host: str
    port: int


class Pulse:
    """One launcher's own socket, and its connections to the others."""

    def __init__(self, address: str) -> None:
        """Listen on *address*; ``close`` ends it."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._server = socket.create_server((address, 0), family=family, backlog=1024)
        self._server.setblocking(False)
        self.port: int = self._server.getsockname()[1]
        """Where the others connect to."""
        self._lock = threading.Lock()
        self._wanted: frozenset[Peer] = frozenset()
        self._gone: frozenset[Peer] = frozenset()
        self._connections: dict[Peer, socket.socket] = {}
        self._accepted: set[socket.socket] = set()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        self._thread.start()

    def follow(self, peers: Collection[Peer]) -> None:
        """Hold connections to these launchers and to no others; returns at once."""
        with self._lock:
            self._wanted = frozenset(peers)
            self._gone &= self._wanted

    def gone(self) -> frozenset[Peer]:
        """Return the followed launchers that have died."""
        with self._lock:
            return self._gone

    def close(self) -> None:
        """End: to the others this launcher is gone."""
        self._closed.set()
        self._thread.join()
        for each in (self._server, *self._connections.values(), *self._accepted):
            each.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._connect_and_drop()
            for key, _ in self._selector.select(_LOOK_S):
                if key.fileobj is self._server:
                    self._accept()
                elif key.data is not None:
                    self._ended(key.data)
                else:
                    self._let_go(key.fileobj)

    def _connect_and_drop(self) -> None:
        with self._lock:
            wanted, gone = self._wanted, self._gone
        for peer in wanted - self._connections.keys() - gone:
            self._connect(peer)
        for peer in self._connections.keys() - wanted:
            self._drop(peer)

    def _accept(self) -> None:
        try:
            connection, _ = self._server.accept()
        except OSError:
            return  # it was given up meanwhile
        self._accepted.add(connection)
        self._selector.register(connection, selectors.EVENT_READ)

    def _let_go(self, connection: Any) -> None:
        """Close the connection of a launcher that has ended or follows this one no more."""
        self._accepted.discard(connection)
        self._selector.unregister(connection)
        connection.close()

    def _connect(self, peer: Peer) -> None:
        try:
            connection = socket.create_connection((peer.host, peer.port), timeout=_CONNECT_S)
        except ConnectionRefusedError:
            _log.info("launcher: the launcher at %s port %d has ended", peer.host, peer.port)
            with self._lock:
                self._gone |= {peer}
        except OSError:
            return  # unreachable is not dead; its heartbeats decide, and it is tried again
        else:
            self._connections[peer] = connection
            self._selector.register(connection, selectors.EVENT_READ, peer)

    def _ended(self, peer: Peer) -> None:
        """Find out whether a launcher whose connection has ended lives: only a dead one refuses a new connection."""
        self._drop(peer)
        self._connect(peer)

    def _drop(self, peer: Peer) -> None:
        connection = self._connections.pop(peer)
        self._selector.unregister(connection)
        connection.close()
