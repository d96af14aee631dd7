"""The base of all modules."""

from torch import nn


class Module(nn.Module):  # type: ignore[misc]  # torch is not analysed: that would take minutes
    """``torch.nn.Module``; one class of our own, so that one comment silences the type checker."""
