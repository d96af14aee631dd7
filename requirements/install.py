"""
Create ``.venv`` with exactly the pinned packages, from nothing but a Python.

uv comes from PyPI into the cache folder; every wheel is checked against its hash. A CPU-only torch that this Python already
has is taken instead of the CUDA build from PyPI, which saves 4 GB.

    python3 requirements/install.py
"""

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("BERTJOB_CACHE") or Path.home() / ".cache" / "bertjob")
UV_VERSION = "0.13.0"
GIB = 1024**3
NEEDED_GIB = 10
"""6 for .venv with the CUDA build of torch, the rest for downloads."""
GPU_PACKAGE = re.compile(r"^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==")

PROBE = """
import json, sys
try:
    import torch
except ImportError:
    print("null")
else:
    from pathlib import Path
    site = str(Path(torch.__file__).resolve().parent.parent)
    print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "site": site}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTorch:
    """A torch that the user has."""

    version: str
    site: str
    """Folder that Python finds it in."""


def main() -> int:
    """Install, unless the environment already is what the pins say."""
    parser = argparse.ArgumentParser(description="Create .venv with exactly the pinned packages.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="where to create it")
    target: Path = parser.parse_args().venv
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        found = f"{sys.version_info.major}.{sys.version_info.minor}"
        return _fail(f"this Python is {found}, expected 3.11 to 3.13; set PYTHON, as in: make env PYTHON=python3.12")
    stamp = target / "installed"
    pins = _digest()
    if _reads(stamp, pins):
        return 0
    with _alone(target.parent):
        if _reads(stamp, pins):
            return 0
        own_torch = _cpu_torch()
        if (problem := _space_problem(target, own_torch)) is not None:
            return _fail(problem)
        _install(target, own_torch)
        stamp.write_text(pins)
    return 0


def _reads(stamp: Path, pins: str) -> bool:
    return stamp.exists() and stamp.read_text() == pins


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold *folder* and the cache: the kernel lets go of them even after kill -9."""
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(
            _fail(f"cannot make the cache folder {CACHE}: {error.strerror}; set BERTJOB_CACHE to a folder of yours")
        )
    held = [os.open(path, os.O_RDONLY) for path in (folder, CACHE)]
    try:
        for number in held:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("another installation is under way; waiting for it", flush=True)
                fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        for number in held:
            os.close(number)


def _digest() -> str:
    files = [ROOT / "requirements" / name for name in ("dev.txt", "quickstart.txt", "install.py")]
    content = b"".join(path.read_bytes() for path in [*files, ROOT / "pyproject.toml"])
    return hashlib.sha256(content + sys.version.encode()).hexdigest()


def _cpu_torch() -> OwnTorch | None:
    """Return a CPU-only torch of this Python that the pins accept, or None."""
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    found = json.loads(done.stdout or "null") if done.returncode == 0 else None
    pinned = re.search(r"^torch==([0-9.]+)", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE)
    if found is None or pinned is None or found["cuda"] is not None:
        return None
    accepted = found["version"].split("+", maxsplit=1)[0] == pinned[1]
    return OwnTorch(version=found["version"], site=found["site"]) if accepted else None


def _space_problem(target: Path, own_torch: OwnTorch | None) -> str | None:
    needed = NEEDED_GIB - 5 if own_torch else NEEDED_GIB
    free = shutil.disk_usage(target.parent).free / GIB
    print(f"installing into {target}: about {needed} GB of disk, {free:.0f} GB free", flush=True)
    if own_torch:
        print(f"taking the CPU-only torch {own_torch.version} in {own_torch.site}", flush=True)
    return (
        None
        if free > needed
        else f"{target.parent} has {free:.1f} GB free, expected {needed}; make room or clone elsewhere"
    )


def _install(target: Path, own_torch: OwnTorch | None) -> None:
    uv = _uv()
    # Not sys.executable: that may be target's own Python, which --clear removes.
    base = getattr(sys, "_base_executable", sys.executable)
    _run(uv, "venv", "--quiet", "--clear", "--python", base, str(target))
    if own_torch:
        # Not --system-site-packages: it looks past a virtual environment, and that may be where the user has torch.
        [packages] = target.glob("lib/python*/site-packages")
        (packages / "own-torch.pth").write_text(f"{own_torch.site}\n")
    # Gigabytes come the first time: on a terminal uv shows how far it is, and lists what it installed.
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    python = [*quiet, "--python", str(target / "bin" / "python")]
    pins = _without_torch() if own_torch else ROOT / "requirements" / "dev.txt"
    _run(uv, "pip", "install", *python, "--require-hashes", "--no-deps", "-r", str(pins))
    _run(
        uv,
        "pip",
        "install",
        *python,
        "--require-hashes",
        "--no-deps",
        "-r",
        str(ROOT / "requirements" / "quickstart.txt"),
    )
    _run(uv, "pip", "install", *python, "--no-deps", "--editable", str(ROOT))


def _uv() -> str:
    """Return uv, from the cache or newly installed there."""
    folder = CACHE / f"uv-{UV_VERSION}"
    uv = folder / "bin" / "uv"
    if not uv.exists():
        print(f"fetching uv {UV_VERSION} into {folder}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        _run(str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", f"uv=={UV_VERSION}")
    return str(uv)


def _without_torch() -> Path:
    """Return a copy of the pins without torch and its GPU libraries; a pin goes on over indented lines."""
    kept, skipping = [], False
    for line in (ROOT / "requirements" / "dev.txt").read_text().splitlines(keepends=True):
        if not line.startswith((" ", "\t")):
            skipping = GPU_PACKAGE.match(line) is not None
        if not skipping:
            kept.append(line)
    path = CACHE / "dev-without-torch.txt"
    path.write_text("".join(kept))
    return path


def _run(*argv: str) -> None:
    done = subprocess.run(argv, check=False)
    if done.returncode != 0:
        sys.exit(_fail(f"`{' '.join(argv)}` ended with {done.returncode}; its own message is above"))


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted; the next call begins again with what is downloaded", file=sys.stderr)
        sys.exit(130)
