"""Each program runs from its own pins alone, as in its image."""

import subprocess
import sys
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
