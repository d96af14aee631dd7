"""Which candidates a job gets: each is a method of its spec for one engine. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from bertjob_api.spec import Optimize
from bertjob_serving.engine import ONNXRUNTIME, OPENVINO, TORCH

FP32: Final = "fp32"
"""The reference: built first, and every other candidate is timed beside it."""


Weights = Literal["trained", "tuned", "pruned", "zeroed"]
"""What candidates start from: the trained model, or what was made of it (``tuning.rework``, ``magnitude``)."""


_UNCHANGED: Final = ("trained", "zeroed")
"""Those that need no fine-tune."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one candidate comes about."""

    method: str
    """Of ``spec.optimize.methods`` or ``spec.optimize.references``, or FP32."""
    engine: str
    weights: Weights = "trained"
    is_calibrated: bool = False
    """Ranges of activations are measured on training texts; else they are found on the fly, or nothing is quantized."""

    is_shown: bool = False
    """Measured and shown beside the candidates; the gate does not judge it, and it is not published."""

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
    "torch": Recipe(method="torch", engine=TORCH, is_shown=True),
    "magnitude-onnx": Recipe(method="magnitude", engine=ONNXRUNTIME, weights="zeroed", is_shown=True),
}
"""By the name of the candidate."""


def planned(optimize: Optimize | None) -> tuple[str, ...]:
    """Return the candidates' names in the order in which they are made, FP32 first; without *optimize* it is alone."""
    return (FP32, *(_others(optimize) if optimize is not None else ()))


def possible(optimize: Optimize | None, *, hides: bool) -> tuple[str, ...]:
    """
    Return the planned candidates that can be made; a task that *hides* tokens has none of reworked weights, and none of torch.

    Raises:
        ValueError: candidates are wanted, and none of them can be made.

    """
    wanted = planned(optimize)
    if not hides:
        return wanted
    made = tuple(name for name in wanted if RECIPES[name].engine != TORCH and RECIPES[name].weights in _UNCHANGED)
    if optimize is not None and not any(_is_judged(RECIPES[name]) for name in made):
        raise ValueError(
            f"spec.optimize: none of {', '.join(wanted[1:])} can be made for this task; choose dynamic or static"
        )
    return made


def _is_judged(recipe: Recipe) -> bool:
    return not (recipe.is_reference or recipe.is_shown)


def _others(optimize: Optimize) -> Iterator[str]:
    for method in (FP32, *optimize.methods):
        found = [name for name, recipe in RECIPES.items() if recipe.method == method and name != FP32]
        yield from (name for name in found if RECIPES[name].engine in optimize.engines)
    yield from (name for name, recipe in RECIPES.items() if recipe.is_shown and recipe.method in optimize.references)


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
        training=any(recipe.weights in ("tuned", "pruned") for recipe in recipes),
    )
