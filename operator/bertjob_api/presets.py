"""Sizes of the models that ``preset://NAME`` starts."""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Size(NamedTuple):
    """What tells one preset from another: heads are 64 wide and the feed-forward layer 4 times the model, in all of them."""

    layers: int
    width: int
    """Of the model."""

    @property
    def heads(self) -> int:
        """Return the attention heads of a layer."""
        return self.width // 64

    @property
    def intermediate(self) -> int:
        """Return the width of the feed-forward layer."""
        return 4 * self.width


SIZES: Final[Mapping[str, Size]] = {
    "bert-tiny": Size(2, 128),
    "bert-mini": Size(4, 256),
    "bert-small": Size(4, 512),
    "bert-medium": Size(8, 512),
    "bert-base": Size(12, 768),
    "bert-large": Size(24, 1024),
}
"""Source: Turc et al. 2019, "Well-Read Students Learn Better" (arXiv:1908.08962), table 1; Devlin et al. 2018."""
