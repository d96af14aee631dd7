"""Each program runs from its own pins alone, as in its image, and a torch that the user has is not installed again."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "requirements"))

from install import CACHE, UV_VERSION  # noqa: E402

UV = CACHE / f"uv-{UV_VERSION}" / "bin" / "uv"
PROGRAMS = {
    "operator": ("bertjob_operator.__main__", "bertjob_cli.main"),
    "trainer": (
        "bertjob_trainer.supervisor",
        "bertjob_trainer.worker",
        "bertjob_trainer.store",
        "bertjob_serving.optimize",
    ),
    "predictor": ("bertjob_serving.predictor", "bertjob_storage.fetch"),
}
FORBIDDEN = {
    "operator": ("torch", "kserve"),
    "trainer": ("kubernetes", "kserve"),
    "predictor": ("torch", "transformers"),
}


@pytest.mark.slow
@pytest.mark.parametrize("extra", PROGRAMS)
def test_program_imports_from_its_own_pins(extra: str, tmp_path: Path) -> None:
    """An environment with nothing but the extra's pins imports its programs, and lacks what the image must not carry."""
    venv = tmp_path / "venv"
    python = venv / "bin" / "python"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, venv], check=True)
    install = [UV, "pip", "install", "--quiet", "--python", python, "--no-deps"]
    subprocess.run([*install, "--require-hashes", "-r", ROOT / "requirements" / f"{extra}.txt"], check=True)
    subprocess.run([*install, ROOT], check=True)
    check = "; ".join(f"import {module}" for module in PROGRAMS[extra])
    absent = f"import importlib.util as u; assert not [m for m in {FORBIDDEN[extra]!r} if u.find_spec(m)]"

    done = subprocess.run(
        [python, "-c", f"{check}; {absent}"], capture_output=True, text=True, check=False, cwd=tmp_path
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_own_cpu_torch_is_taken(tmp_path: Path) -> None:
    """A CPU-only torch in the virtual environment that runs the installer is used, and no GPU library is installed."""
    pinned = re.search(r"^torch==([0-9.]+)", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, theirs], check=True)
    torch = _packages(theirs) / "torch"
    torch.mkdir()
    # No real one: the build for CPUs is not on PyPI.
    (torch / "__init__.py").write_text(f"from torch import version\n__version__ = '{pinned[1]}+cpu'\n")
    (torch / "version.py").write_text("cuda = None\n")
    argv = [theirs / "bin" / "python", ROOT / "requirements" / "install.py", f"--venv={ours}"]

    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ""})

    assert done.returncode == 0, done.stderr
    assert f"taking the CPU-only torch {pinned[1]}+cpu in {_packages(theirs)}" in done.stdout
    assert not [path.name for path in _packages(ours).iterdir() if path.name.startswith(("torch", "nvidia", "triton"))]
    code = "import torch, transformers, bertjob_cli; print(torch.__version__)"
    found = subprocess.run([ours / "bin" / "python", "-c", code], capture_output=True, text=True, check=False)
    assert found.stdout == f"{pinned[1]}+cpu\n", found.stderr


def _packages(venv: Path) -> Path:
    return Path(sysconfig.get_path("purelib", "venv", vars={"base": str(venv)}))
