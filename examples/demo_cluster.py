"""
The same YAML on a cluster of real parts: helm install, kubectl apply, KServe answers. What you see typed is what runs.

    make demo-cluster
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import baseline
import conclusion
import quickstart_data
from timeline import Timeline

from bertjob_api import names
from bertjob_cli import credentials, jobfile, view
from bertjob_cli.local_run import outcome
from bertjob_cli.terminal import Display
from bertjob_local.binaries import BuildError
from bertjob_local.parts import ClusterFailedError, LocalCluster, Settings
from bertjob_local.parts.control import NotRunningError
from bertjob_local.parts.layout import default_root

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = Path(os.path.relpath(ROOT / "examples"))
JOB = EXAMPLES / "quickstart.yaml"
CHART = Path(os.path.relpath(ROOT / "charts" / "bertjob"))
SYSTEM = "bertjob-system"


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs programs with a cluster's variables and shows what is typed."""

    env: Mapping[str, str]

    def run(self, *argv: str, stdin: str | None = None) -> str:
        """Return what the program prints; CalledProcessError, with its stderr, when it fails."""
        print(f"$ {' '.join(argv)}", flush=True)
        return self.quiet(*argv, stdin=stdin)

    def quiet(self, *argv: str, stdin: str | None = None) -> str:
        """Do the same without showing it."""
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=True, env=self.env).stdout

    @contextmanager
    def watching(self, *argv: str) -> Iterator[Iterator[dict[str, Any]]]:
        """Give the objects that ``kubectl get --watch`` prints, as they come."""
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=self.env) as process:
            assert process.stdout is not None, "started with a pipe"
            try:
                yield objects(process.stdout)
            finally:
                process.terminate()


def objects(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Yield each object of a stream of indented JSON."""
    text: list[str] = []
    for line in lines:
        text.append(line)
        if line.rstrip("\n") == "}":
            yield json.loads("".join(text))
            text.clear()


def main() -> int:
    """Return 0 when the INT8 model was trained, judged, served by KServe and asked."""
    try:
        with tempfile.TemporaryDirectory(prefix="bertjob-demo-") as folder, a_cluster(Path(folder)) as cluster:
            return demo(cluster, scratch=Path(folder))
    except KeyboardInterrupt:
        return 130
    except (ClusterFailedError, BuildError) as error:
        print(f"error: {error}", file=sys.stderr)
    except subprocess.CalledProcessError as error:
        print(f"error: {' '.join(error.cmd)}: {error.stderr.strip()}", file=sys.stderr)
    return 1


@contextmanager
def a_cluster(folder: Path) -> Iterator[LocalCluster]:
    """Give the local cluster that runs already, or one below *folder* that ends with this program."""
    found = running()
    if found is not None:
        print(f"using the local cluster in {default_root()}")
        yield found
        return
    print("starting etcd, Kubernetes, KServe, S3 and three nodes on loopback", flush=True)
    cluster = LocalCluster.up(folder / "cluster", Settings(owner_pid=os.getpid()), say=print)
    try:
        yield cluster
    finally:
        print("ending the cluster")
        cluster.down()


def running() -> LocalCluster | None:
    """Return the local cluster that ``bertjob local up`` started, if there is one."""
    try:
        return LocalCluster.at(default_root())
    except NotRunningError:
        return None


def demo(cluster: LocalCluster, *, scratch: Path) -> int:
    """Run the quickstart on *cluster* and show what happens."""
    began = time.monotonic()
    shell = Shell(os.environ | cluster.env())
    simple = put_data(shell, scratch / "data")
    secret = credentials.secret(credentials.DEFAULT_NAME, "default", env=shell.env)
    shell.run("kubectl", "apply", "--filename=-", stdin=json.dumps(secret))
    flags = ("--create-namespace", "--wait", "--timeout=2m")
    shell.run("helm", "upgrade", "--install", "bertjob", f"./{CHART}", f"--namespace={SYSTEM}", *flags)
    shell.run("kubectl", "apply", "--server-side", f"--filename={JOB}")
    timeline = Timeline()
    final = follow(shell, timeline)
    if outcome(final) != "Succeeded":
        print("\n".join(view.failure(final)))
        return 1
    print(shell.run("kubectl", "wait", f"--filename={JOB}", "--for=condition=Succeeded", "--timeout=10s"), end="")
    print(shell.run("kubectl", "get", "bertjobs,inferenceservices"), end="")
    show(shell, final, timeline=timeline, simple=simple)
    print(f"\nwhole demo: {time.monotonic() - began:.0f} s")
    return 0


def put_data(shell: Shell, folder: Path) -> float:
    """Put the quickstart's data where its YAML looks for it, and return the accuracy of a simple baseline on it."""
    prefix = jobfile.read(JOB)["spec"]["storage"]["prefix"]
    quickstart_data.write(folder)
    print(shell.run(sys.executable, str(EXAMPLES / "quickstart_data.py"), f"--to={prefix}/data"), end="")
    return baseline.accuracy(folder)


def follow(shell: Shell, timeline: Timeline) -> dict[str, Any]:
    """Show the job until it has ended, and return it."""
    display = Display(sys.stdout)
    with shell.watching("kubectl", "get", f"--filename={JOB}", "--watch", "--output=json") as values:
        for value in values:
            timeline.follow(value)
            display.show(view.screen(value))
            if outcome(value) is not None:
                return value
    raise ClusterFailedError("kubectl stopped watching before the job had ended; see `bertjob local status`")


def show(shell: Shell, final: dict[str, Any], *, timeline: Timeline, simple: float) -> None:
    """Ask the model behind its InferenceService, and print answers, timeline and figures."""
    model = final["spec"]["serving"]["inferenceService"]
    service = json.loads(shell.run("kubectl", "get", "service", names.predictor_name(model), "--output=json"))["spec"]
    url = f"http://{service['clusterIP']}:{service['ports'][0]['port']}"
    conclusion.show(final, url=url, timeline=timeline, simple=simple)


if __name__ == "__main__":
    sys.exit(main())
