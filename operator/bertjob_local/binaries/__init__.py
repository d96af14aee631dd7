"""
Binaries of a real control plane: where they are, and how the missing ones are built.

Each folder beside this file is one Go module set with its own pins, because the sets need
different versions of the same libraries and a ``replace`` counts only in the main module.
"""

from bertjob_local.binaries.building import BuildError, build
from bertjob_local.binaries.places import cache_root, locate, locate_data, missing
from bertjob_local.binaries.sets import BINARIES

__all__ = [
    "BINARIES",
    "BuildError",
    "build",
    "cache_root",
    "locate",
    "locate_data",
    "missing",
]
