"""The sockets of one session with a server, so that none outlives the session."""

import asyncio
import contextlib
import socket
from typing import Final
from weakref import WeakSet

from aiohttp import AddrInfoType

_LOOK_EVERY_S: Final = 0.001
_LOOKS: Final = 1000


class Sockets:
    """
    Makes the sockets of a session, and ends those still open after it.

    A TLS connection that is closed waits up to 30 s for the server's goodbye, and the session does not wait for it. An event
    loop that ends meanwhile forgets the socket and leaves it open.
    """

    def __init__(self) -> None:
        self._made: WeakSet[socket.socket] = WeakSet()

    def make(self, where: AddrInfoType) -> socket.socket:
        """Return a new socket for an address as ``getaddrinfo`` tells it: a session's ``socket_factory``."""
        family, kind, protocol, _, _ = where
        made = socket.socket(family, kind, protocol)
        self._made.add(made)
        return made

    async def end(self) -> None:
        """Cut what is open, and return when the event loop has closed it, after about a second at the latest."""
        for each in self._open():
            with contextlib.suppress(OSError):  # the server was first
                each.shutdown(socket.SHUT_RDWR)
        for _ in range(_LOOKS):  # nothing tells when a transport has closed its socket
            if not self._open():
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    def _open(self) -> list[socket.socket]:
        return [each for each in self._made if each.fileno() != -1]
