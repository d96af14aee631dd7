"""Breaking the connections of a group off, without touching what is not of it."""

import os
import socket
from pathlib import Path

from bertjob_trainer.forming import Connections


def test_numbers_that_were_used_again_are_left_alone(tmp_path: Path) -> None:
    """A file or another socket under the number of a closed connection stays open, and nothing is raised."""
    connections = Connections()
    with connections.watched():
        ends = [*socket.socketpair(), *socket.socketpair()]
    first, second = ends[0].fileno(), ends[1].fileno()
    with (tmp_path / "file").open("wb") as file, socket.socket() as other:
        os.dup2(file.fileno(), first)
        os.dup2(other.fileno(), second)

        connections.break_off()

        assert os.write(first, b"x") == 1
        assert ends[2].recv(1) == b""  # one that is still of the group is broken off
    for end in ends:
        end.close()
