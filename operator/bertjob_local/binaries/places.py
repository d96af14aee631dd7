"""Where a binary is: $KUBEBUILDER_ASSETS, PATH when its version fits, then our cache."""

import os
import shutil
import subprocess
from pathlib import Path

from bertjob_local.binaries import sets


def cache_root() -> Path:
    """Return $BERTJOB_CACHE, else ``bertjob`` below the user's cache folder."""
    if own := os.environ.get("BERTJOB_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bertjob"


def set_dir(module_set: sets.ModuleSet) -> Path:
    """Return the cache folder of a module set's binaries and data; it may not exist."""
    return cache_root() / "bin" / f"{module_set.name}-{sets.digest(module_set)}"


def locate(name: str) -> Path | None:
    """Return the first fitting binary called *name*, or None when it has to be built."""
    return in_assets(name) or on_path(name) or in_cache(name)


def in_assets(name: str) -> Path | None:
    """Return the binary in $KUBEBUILDER_ASSETS; whoever sets that answers for the version."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    return _executable(Path(assets) / name) if assets else None


def on_path(name: str) -> Path | None:
    """Return the binary on PATH when its major and minor version are the pinned ones."""
    binary = sets.binary_of(name)
    found = shutil.which(name)
    if found is None or binary.version_argv is None:
        return None
    wanted = sets.minor_of(sets.version_of(sets.set_of(name)))
    said = sets.minor_of(_output((found, *binary.version_argv)))
    return Path(found) if said == wanted else None


def in_cache(name: str) -> Path | None:
    """Return the binary that we built, or None."""
    return _executable(set_dir(sets.set_of(name)) / name)


def locate_data(folder: str) -> Path | None:
    """Return a data folder, such as ``charts/kserve-crd``, or None when it has to be built."""
    for each in sets.MODULE_SETS:
        if folder in each.data:
            path = set_dir(each) / folder
            return path if path.is_dir() else None
    msg = f"no module set keeps a data folder {folder!r}"
    raise ValueError(msg)


def missing() -> tuple[str, ...]:
    """Return what a local cluster needs and nothing provides, binaries and data folders, in building order."""
    folders = (folder for each in sets.MODULE_SETS if not each.optional for folder in each.data)
    return (
        *(name for name in sets.BINARIES if locate(name) is None),
        *(folder for folder in folders if locate_data(folder) is None),
    )


def _executable(path: Path) -> Path | None:
    return path if path.is_file() and os.access(path, os.X_OK) else None


def _output(argv: tuple[str, ...]) -> str:
    """Return what a version command prints, or nothing when it fails or hangs."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
