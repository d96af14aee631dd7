"""Which release this is, and whether the operator and a program that it starts mean the same."""

import importlib.metadata
from collections.abc import Mapping
from typing import Final

from bertjob_api import names

CONTRACT: Final = 1
"""Grows when a program of an older release would misread what a newer operator hands over, or the other way round."""


def mismatch(env: Mapping[str, str]) -> str | None:
    """Return why this program cannot work for the operator that started it; None: it can, or it was started by hand."""
    said = env.get(names.CONTRACT_ENV)
    if said is None or said == str(CONTRACT):
        return None
    return (
        f"image: it speaks contract {CONTRACT}, the operator contract {said}; "
        "use images and operator of the same release (spec.training.image, spec.optimize.image, the chart's images)"
    )


def release() -> str:
    """Return the installed version of this project; "unknown" when it runs from a source folder."""
    try:
        return importlib.metadata.version("bertjob")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
