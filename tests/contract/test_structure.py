"""The rules of the source tree: layout, sizes, names and what a program may import."""

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bertjob_api import names

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("operator", "trainer", "serving")
ROOT_ENTRIES = {
    ".ci", ".git", ".gitignore", ".venv", "CHANGELOG.md", "LICENSE", "Makefile", "README.md",
    "charts", "docs", "examples", "operator", "pyproject.toml", "requirements", "serving", "tests", "trainer",
}  # fmt: skip
MAX_MODULE, MAX_TEST_MODULE, MAX_FUNCTION = 400, 500, 60


def _sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_operator_folder_does_not_shadow_the_standard_library() -> None:
    """``import operator`` finds Python's own, from the repository root too."""
    assert not list((ROOT / "operator").glob("*.py"))
    spec = importlib.util.find_spec("operator")
    assert spec is not None
    assert ROOT not in Path(str(spec.origin)).parents


def test_root_holds_nothing_unexpected() -> None:
    """Tracked root entries are the agreed ones."""
    listed = subprocess.run(
        ["git", "ls-tree", "--name-only", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert set(listed.stdout.split()) <= ROOT_ENTRIES


@pytest.mark.parametrize("path", _sources(*PROGRAMS, "tests", "examples"), ids=_id)
def test_module_is_small(path: Path) -> None:
    """A module holds one idea: at most 400 lines, 500 for tests."""
    limit = MAX_TEST_MODULE if "tests" in path.relative_to(ROOT).parts else MAX_MODULE

    assert len(path.read_text().splitlines()) <= limit


def _long_functions(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION:
                yield f"{_id(path)}:{node.lineno} {node.name}: {lines} lines"


def test_functions_are_small() -> None:
    """A function fits a screen."""
    assert [found for path in _sources(*PROGRAMS) for found in _long_functions(path)] == []


@pytest.mark.parametrize("path", _sources(*PROGRAMS), ids=_id)
def test_names_are_written_once(path: Path) -> None:
    """Our label prefix and environment variables stand in ``bertjob_api.names`` alone."""
    if path.name in ("names.py", "conditions.py"):
        return
    literals = [
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    known = {
        value
        for key, value in vars(names).items()
        if key.endswith(("_ENV", "_LABEL")) and value.startswith(("BERTJOB_", f"{names.GROUP}/"))
    }

    assert sorted(known & set(literals)) == []


HOSTS = re.compile(r"/work/|pypi\.org|proxy\.golang|files\.pythonhosted|registry\.npmjs|deb\.debian")


def test_project_speaks_of_itself_alone() -> None:
    """No path of a build machine and no package index stands in the sources."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    texts = [
        ROOT / name
        for name in listed.stdout.split("\n")
        if name.endswith((".py", ".md", ".yaml", ".toml", ".txt", "Makefile"))
    ]

    assert [
        _id(path) for path in texts if path != Path(__file__) and path.exists() and HOSTS.search(path.read_text())
    ] == []


ALONE = {
    "bertjob_api": ("torch", "kubernetes", "aiohttp", "yaml", "boto3"),
    "bertjob_operator.__main__": ("torch", "transformers", "kserve", "boto3", "openvino"),
    "bertjob_cli.main": ("torch", "transformers", "kserve", "openvino"),
    "bertjob_storage": ("torch", "kubernetes", "kserve"),
    "bertjob_tasks": ("torch", "kubernetes", "kserve"),
    "bertjob_trainer.supervisor": ("torch", "kubernetes", "kserve", "boto3"),
    "bertjob_trainer.worker": ("kubernetes", "kserve", "transformers"),
    "bertjob_serving.predictor": ("torch", "transformers"),
}


@pytest.mark.parametrize("module", ALONE)
def test_program_loads_only_what_its_image_has(module: str) -> None:
    """Importing a program does not pull in the packages that its image lacks or that cost seconds."""
    check = f"import sys, {module}; print(*sorted(set({ALONE[module]!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
