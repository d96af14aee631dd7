"""Which candidates a job gets: each is a method of its spec for one engine. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from bertjob_api.spec import Optimize
from bertjob_serving.engine import ONNXRUNTIME, OPENVINO

FP32: Final = "fp32"
"""The reference: built first, and every other candidate is timed beside it."""


Weights = Literal["trained", "tuned", "pruned"]
"""What candidates start from: the trained model, or what was made of it (``tuning.rework``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one candidate comes about."""

    method: str
    """Of ``spec.optimize.methods``, or FP32."""
    engine: str
    weights: Weights = "trained"
    is_calibrated: bool = False
    """Ranges of activations are measured on training texts; else they are found on the fly, or nothing is quantized."""

    @property
    def is_reference(self) -> bool:
        """Return whether it is an FP32 engine, which candidates are compared with and which the gate does not judge."""
        return self.method == FP32


RECIPES: Final[Mapping[str, Recipe]] = {
    FP32: Recipe(method=FP32, engine=OPENVINO),
    "fp32-onnx": Recipe(method=FP32, engine=ONNXRUNTIME),
    "dynamic": Recipe(method="dynamic", engine=OPENVINO),
    "dynamic-onnx": Recipe(method="dynamic", engine=ONNXRUNTIME),
    "static": Recipe(method="static", engine=OPENVINO, is_calibrated=True),
    "qat": Recipe(method="qat", engine=OPENVINO, weights="tuned", is_calibrated=True),
    "qat-onnx": Recipe(method="qat", engine=ONNXRUNTIME, weights="tuned"),
    "pruning": Recipe(method="pruning", engine=OPENVINO, weights="pruned", is_calibrated=True),
    "pruning-onnx": Recipe(method="pruning", engine=ONNXRUNTIME, weights="pruned"),
}
"""By the name of the candidate."""


def planned(optimize: Optimize | None) -> tuple[str, ...]:
    """Return the candidates' names in the order in which they are made, FP32 first; without *optimize* it is alone."""
    return (FP32, *(_others(optimize) if optimize is not None else ()))


def possible(optimize: Optimize | None, *, hides: bool) -> tuple[str, ...]:
    """
    Return the planned candidates that can be made; a task that *hides* tokens has none of other weights or for ONNX Runtime.

    Raises:
        ValueError: candidates are wanted, and none of them can be made.

    """
    wanted = planned(optimize)
    if not hides:
        return wanted
    made = tuple(name for name in wanted if RECIPES[name].engine == OPENVINO and RECIPES[name].weights == "trained")
    if optimize is not None and made == (FP32,):
        raise ValueError(
            f"spec.optimize: none of {', '.join(wanted[1:])} can be made for this task; choose dynamic or static, for openvino"
        )
    return made


def _others(optimize: Optimize) -> Iterator[str]:
    for method in (FP32, *optimize.methods):
        found = [name for name, recipe in RECIPES.items() if recipe.method == method and name != FP32]
        yield from (name for name in found if RECIPES[name].engine in optimize.engines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What candidates need beside the trained model."""

    calibration: bool = False
    training: bool = False


def needs(optimize: Optimize) -> Needs:
    """Return what the candidates of a job need."""
    recipes = [RECIPES[name] for name in planned(optimize)]
    return Needs(
        calibration=any(recipe.is_calibrated for recipe in recipes),
        training=any(recipe.weights != "trained" for recipe in recipes),
    )
