"""Commands that need more packages than are installed."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.jobs import a_job

_WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(("numpy", "tokenizers", "torch")))
from bertjob_cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("command", "after"), [("ledger show", "."), ("plan-scale", ""), ("probe", "")])
def test_missing_packages_are_one_line(command: str, after: str, tmp_path: Path) -> None:
    """Without NumPy, tokenizers and torch the command ends with 2 and names the extra that brings them, with no traceback."""
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(a_job(model={"source": f"file://{tmp_path}"})))

    argv = [sys.executable, "-c", _WITHOUT, *command.split(), after or str(file)]
    if command == "probe":
        argv += ["--storage", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "pip install 'bertjob[trainer]'" in done.stderr
