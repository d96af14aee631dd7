"""What README and docs tell people to type exists and works."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bertjob_api.job import parse_job
from bertjob_cli import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
S3 = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
RUN_HERE = ("validate", "render", "crd", "credentials")
"""Commands that neither need a cluster nor take long; ``run`` and the cluster's are run end to end in ``tests/e2e``."""


def _lines() -> list[str]:
    blocks = [block for page in PAGES for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)]
    return sorted({line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")})


def _bertjob(line: str) -> list[str]:
    """Return the words after ``bertjob`` in a line, wherever it stands in it."""
    found = re.search(r"bertjob ([^|)]*)", line)
    assert found is not None
    return shlex.split(found[1])


BERTJOB = [line for line in _lines() if re.match(r'(eval "\$\()?bertjob ', line)]
OTHERS = [line for line in _lines() if line not in BERTJOB]


@pytest.mark.parametrize("line", BERTJOB)
def test_bertjob_takes_the_line(line: str) -> None:
    """The parser knows the command and every option of it, and the files that it names are there."""
    options = main.parser().parse_args(_bertjob(line))

    file = getattr(options, "file", None)
    assert file is None or (ROOT / file).is_file()


@pytest.mark.parametrize("line", [line for line in BERTJOB if _bertjob(line)[0] in RUN_HERE])
def test_line_does_what_it_says(line: str) -> None:
    """A command that needs no cluster ends well."""
    argv = [sys.executable, "-m", "bertjob_cli.main", *_bertjob(line)]
    done = subprocess.run(argv, cwd=ROOT, env=S3, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize("line", OTHERS)
def test_other_line_names_what_is_there(line: str) -> None:
    """Other programs are helm, kubectl and python, on files of this repository."""
    program, *words = shlex.split(line)

    assert program in ("helm", "kubectl", "python")
    assert all((ROOT / word).exists() for word in words if word.startswith(("examples/", "charts/")))


def test_make_targets_exist() -> None:
    """Every ``make`` target that a page names is in the Makefile."""
    known = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for page in PAGES
        for target in re.findall(r"(?:`|^    )make ([a-z0-9-]+)", page.read_text(), re.MULTILINE)
    }

    assert {"demo", "demo-cluster", "test"} <= named <= known


def test_first_screen_shows_the_commands() -> None:
    """Somebody who opens the README sees both demos and the test command without scrolling."""
    first = (ROOT / "README.md").read_text().splitlines()[:12]

    assert [line.split("#")[0].strip() for line in first if line.startswith("    make")] == [
        "make demo",
        "make demo-cluster",
        "make test",
    ]


def test_yaml_in_pages_is_valid() -> None:
    """The BertJobs that pages show are valid as they stand there; Kueue tries its own objects in ``tests/integration``."""
    blocks = [block for page in PAGES for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)]
    objects = [each for block in blocks for each in yaml.safe_load_all(block)]
    jobs = [each for each in objects if not each["apiVersion"].startswith(("kueue.", "scheduling."))]

    assert jobs
    for job in jobs:
        parse_job(job)


def test_links_lead_somewhere() -> None:
    """Relative links name files or folders of this repository."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^):#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"
