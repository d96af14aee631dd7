"""The grid of processes as torch's DeviceMesh."""

import itertools
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.distributed.device_mesh import DeviceMesh

from bertjob_trainer.group import Group, connecting, peers_blamed
from bertjob_trainer.parallel.axes import NAMES, Axes

_TURNS: Final = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """
    A mesh whose dimensions have names of their own.

    Torch keeps what it worked out for a mesh, process groups included, and takes a mesh of equal shape and names for the same one:
    in a process that forms its second group it would speak to the groups of the first.
    """

    mesh: Any
    turn: int

    def along(self, *names: str) -> Any:
        """Return the part of the mesh with these of the dimensions in ``axes.NAMES``, through this process."""
        found = tuple(f"{name}-{self.turn}" for name in names)
        return self.mesh[found[0] if len(found) == 1 else found]

    def process_group(self, name: str) -> Any:
        """Return torch's process group of this process's line along a dimension."""
        return self.mesh.get_group(f"{name}-{self.turn}")


def grid_of(axes: Axes, *, device: torch.device, group: Group) -> Grid:
    """
    Return the grid of the processes of *group*, which all call this; those that look on have no place in it.

    Raises:
        PeerLostError: a process was lost meanwhile, or the group was broken off.

    """
    turn = next(_TURNS)
    ranks = torch.arange(axes.data * axes.ways).reshape(axes.shape)
    with connecting(group), peers_blamed():
        mesh = DeviceMesh(device.type, ranks, mesh_dim_names=tuple(f"{name}-{turn}" for name in NAMES))
    return Grid(mesh=mesh, turn=turn)
