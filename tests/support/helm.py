"""The chart as helm renders it, and helm on a cluster."""

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from bertjob_local import binaries
from bertjob_local.parts import LocalCluster

CHART = Path(__file__).parents[2] / "charts" / "bertjob"
KSERVE = "serving.kserve.io/v1alpha1"
PROMETHEUS = "monitoring.coreos.com/v1"

Manifest = dict[str, Any]


class HelmError(Exception):
    """Helm refused; the text is what it said."""


def helm(*arguments: str, env: dict[str, str] | None = None) -> str:
    """Return what helm prints."""
    program = binaries.locate("helm")
    assert program is not None, "the test asked for helm first"
    argv = (str(program), *arguments)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env or dict(os.environ))
    if done.returncode:
        raise HelmError(done.stderr + done.stdout)
    return done.stdout


def rendered(*values: str, api: tuple[str, ...] = (KSERVE,), release: str = "bertjob") -> list[Manifest]:
    """Return the manifests of the chart with *values* (``--set``), for a cluster that serves the groups *api*."""
    words = [word for value in values for word in ("--set", value)]
    words += [word for version in api for word in ("--api-versions", version)]
    text = helm("template", release, str(CHART), "--namespace", "bertjob-system", *words)
    return [each for each in yaml.safe_load_all(text) if each]


def only(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """Return the one manifest of this kind, and of this name where there are several."""
    found = [each for each in manifests if each["kind"] == kind and name in (None, each["metadata"]["name"])]
    assert len(found) == 1, f"{kind} {name}: found {[each['metadata']['name'] for each in found]}, expected one"
    return found[0]


def on(cluster: LocalCluster, *arguments: str) -> str:
    """Return what helm prints on *cluster*."""
    return helm(*arguments, env=dict(os.environ) | cluster.env())
