"""Foreign text made fit for conditions and events."""

import re
from typing import Final

MAX_MESSAGE: Final = 1000
"""Characters; the API allows 1024."""


def sentence(message: str, *, size: int = MAX_MESSAGE) -> str:
    """Return *message* on one line; of a long one the start and the end, where place and cause stand."""
    line = " ".join(message.split())
    half = (size - 5) // 2
    return line if len(line) <= size else f"{line[:half]} ... {line[-half:]}"


def reason(word: str) -> str:
    """Return *word* as a condition's reason: CamelCase letters and digits; ``Error`` when nothing is left."""
    clean = re.sub(r"[^A-Za-z0-9]", "", word)[:128].lstrip("0123456789")
    return clean[:1].upper() + clean[1:] if clean else "Error"
