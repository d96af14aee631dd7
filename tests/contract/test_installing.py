"""`make env` keeps the Python that was chosen, and says in a line what is in its way."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _make_env(folder: Path, *variables: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in {"PYTHON", "MAKEFLAGS", "MAKELEVEL"}}
    argv = ["make", "--dry-run", "--directory", folder, "env", *variables]
    return subprocess.run(argv, capture_output=True, text=True, check=True, env=clean).stdout


def test_the_python_of_the_environment_stays(tmp_path: Path) -> None:
    """A Python named once is used by every later call of make, until another is named or the environment is gone."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    bin_folder = tmp_path / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "python").symlink_to(sys.executable)

    assert ".venv/bin/python requirements/install.py" in _make_env(tmp_path)
    assert "python3.99 requirements/install.py" in _make_env(tmp_path, "PYTHON=python3.99")
    (bin_folder / "python").unlink()
    assert ".venv/bin/python" not in _make_env(tmp_path)


def test_cache_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """A cache folder below a file ends the installer with the folder and the variable that names another."""
    (tmp_path / "file").touch()
    cache = tmp_path / "file" / "cache"
    argv = [sys.executable, ROOT / "requirements" / "install.py", f"--venv={tmp_path / 'venv'}"]
    environment = {**os.environ, "BERTJOB_CACHE": str(cache)}

    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)

    assert done.returncode == 1
    assert done.stderr == (
        f"error: cannot make the cache folder {cache}: Not a directory; set BERTJOB_CACHE to a folder of yours\n"
    )
