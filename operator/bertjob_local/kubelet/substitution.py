"""
What a container calls a path, and what that path is on this machine. Pure.

A process sees the machine's own file system, so mount paths in its arguments and environment are replaced by the folders
behind them. Only whole paths count: ``/mnt/models`` is found in ``--dir=/mnt/models/x`` and in ``/a:/mnt/models``, but not in
``/mnt/models2``, ``/srv/mnt/models`` or ``file:///mnt/models``.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_REFERENCE = re.compile(r"\$(\$|\(([A-Za-z_.-][A-Za-z0-9_.-]*)\))")
_IN_PATH = r"[A-Za-z0-9_.\-/]"


def expanded(text: str, env: Mapping[str, str]) -> str:
    """
    Return *text* with ``$(NAME)`` replaced where *env* knows the name, and ``$$`` by ``$``.

    Source: Kubernetes documentation, "Define dependent environment variables".
    """
    return _REFERENCE.sub(lambda found: "$" if found[1] == "$" else env.get(found[2], found[0]), text)


def substitution(mounts: Sequence[tuple[str, Path]]) -> Callable[[str], str]:
    """Return the function that replaces mount paths in a text, the longest first."""
    folders = {path.rstrip("/"): str(folder) for path, folder in mounts if path.rstrip("/")}
    if not folders:
        return lambda text: text
    names = "|".join(re.escape(path) for path in sorted(folders, key=len, reverse=True))
    pattern = re.compile(rf"(?<!{_IN_PATH})({names})(?![A-Za-z0-9_.\-])")
    return lambda text: pattern.sub(lambda found: folders[found[1]], text)
