"""The base of all modules, and how they are made."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import nn
from torch.overrides import TorchFunctionMode


class Module(nn.Module):  # type: ignore[misc]  # torch is not analysed: that would take minutes
    """``torch.nn.Module``; one class of our own, so that one comment silences the type checker."""

    is_tied: ClassVar[bool] = False
    """The word vectors are the output layer's matrix as well, so every one of them has a gradient in every step."""


class Unfilled(TorchFunctionMode):  # type: ignore[misc]
    """
    A context in which modules are made without values, which they get later.

    Torch would fill every weight once more than needed. Not the device "meta": there torch loads its compiler, which takes 2 s of each
    process's start.
    """

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call *func* unless it is of ``torch.nn.init``."""
        given = dict(kwargs or {})
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else given["tensor"]
        return func(*args, **given)
