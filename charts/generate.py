"""Write the parts of the chart that come from the contract: ``python charts/generate.py``."""

from pathlib import Path
from typing import Any

import yaml

from bertjob_api import commands
from bertjob_api.crd import bert_job_crd

FILES = Path(__file__).parent / "bertjob" / "files"


def contents() -> dict[str, Any]:
    """Return what each file below ``FILES`` holds, by name."""
    predictor = commands.predictor()
    return {
        "crd-spec.yaml": bert_job_crd()["spec"],
        "predictor.yaml": {"command": list(predictor.argv), "env": [dict(item) for item in predictor.env]},
    }


def text(value: Any) -> str:
    """Return *value* as YAML that ends with a newline; without line breaks inside texts, so that diffs stay small."""
    source = "# Written by charts/generate.py from operator/bertjob_api; do not edit.\n"
    return source + yaml.safe_dump(value, sort_keys=False, width=10_000)


def main() -> None:
    """Write every file."""
    for name, value in contents().items():
        (FILES / name).write_text(text(value))


if __name__ == "__main__":
    main()
