"""Which candidates a job gets: each is a method of its spec for one engine. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bertjob_api.spec import Optimize
from bertjob_serving.engine import ONNXRUNTIME, OPENVINO

FP32: Final = "fp32"
"""The reference: built first, and every other candidate is timed beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one candidate comes about."""

    method: str
    """Of ``spec.optimize.methods``, or FP32."""
    engine: str

    @property
    def is_reference(self) -> bool:
        """Return whether it is an FP32 engine, which candidates are compared with and which the gate does not judge."""
        return self.method == FP32


RECIPES: Final[Mapping[str, Recipe]] = {
    FP32: Recipe(method=FP32, engine=OPENVINO),
    "fp32-onnx": Recipe(method=FP32, engine=ONNXRUNTIME),
    "dynamic": Recipe(method="dynamic", engine=OPENVINO),
    "dynamic-onnx": Recipe(method="dynamic", engine=ONNXRUNTIME),
    "static": Recipe(method="static", engine=OPENVINO),
}
"""By the name of the candidate."""


def planned(optimize: Optimize | None) -> tuple[str, ...]:
    """Return the candidates' names in the order in which they are made, FP32 first; without *optimize* it is alone."""
    return (FP32, *(_others(optimize) if optimize is not None else ()))


def _others(optimize: Optimize) -> Iterator[str]:
    for method in (FP32, *optimize.methods):
        found = [name for name, recipe in RECIPES.items() if recipe.method == method and name != FP32]
        yield from (name for name in found if RECIPES[name].engine in optimize.engines)
        if not found:
            yield method  # becomes a candidate that failed, with the reason
