"""The base of all modules."""

from typing import ClassVar

from torch import nn


class Module(nn.Module):  # type: ignore[misc]  # torch is not analysed: that would take minutes
    """``torch.nn.Module``; one class of our own, so that one comment silences the type checker."""

    is_tied: ClassVar[bool] = False
    """The word vectors are the output layer's matrix as well, so every one of them has a gradient in every step."""
