"""Files, ports and requests of a local cluster."""

import csv
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bertjob_local.parts import __main__ as entry
from bertjob_local.parts import child, control, install, kserve, owner, pki, s3, settings, state
from bertjob_local.parts.layout import Layout
from bertjob_local.parts.ports import free_ports

STATE = state.State(
    phase="ready",
    supervisor=7,
    server="https://127.0.0.1:1",
    kubeconfig="/k",
    s3_endpoint=None,
    parts={"etcd": state.PartState(phase="ready", pid=9, port=2)},
)


def test_state_survives_the_file():
    """What is written is what is read."""
    assert state.decode(state.encode(STATE)) == STATE


@pytest.mark.parametrize("text", ["{}", '{"parts": {"etcd": {"colour": 1}}}', '{"parts": []}'])
def test_a_foreign_state_file_is_refused(text: str):
    """A file of another version is named as such, not misread."""
    with pytest.raises(ValueError, match="not a state file of this version"):
        state.decode(text)


def test_settings_survive_the_file(tmp_path: Path):
    """The supervising process reads the very choices that were made."""
    given = settings.Settings(parts=("etcd", "apiserver"), nodes=2, images="/i", owner_pid=5)
    settings.write(given, tmp_path / "settings.json")

    assert settings.read(tmp_path / "settings.json") == given


def test_status_table_names_every_part():
    """A person sees phase and pid of each part."""
    assert entry.table(STATE).splitlines()[1].split() == ["etcd", "ready", "pid", "9", "port", "2", "restarts", "0"]


def test_exports_are_safe_for_a_shell():
    """A value with blanks and quotes reaches the shell unchanged."""
    assert entry.exports({"A": "it's $HOME"}) == "export A='it'\"'\"'s $HOME'\n"


def test_ports_are_free_different_and_not_for_clients():
    """No two sockets share a port, and the kernel gives none of them to a client."""
    ports = free_ports()
    numbers = [getattr(ports, name) for name in ports.__slots__]
    low, high = (int(word) for word in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())

    assert len(set(numbers)) == len(numbers)
    assert not [number for number in numbers if low <= number <= high]


def test_token_file_reads_as_csv():
    """Groups with a comma stay one field, and each identity has its own token."""
    tokens = {identity.name: f"token-{identity.name}" for identity in pki.IDENTITIES}
    rows = list(csv.reader(pki.token_file(tokens).splitlines()))

    assert ["token-admin", "kubernetes-admin", "admin", "system:masters"] in rows
    assert {len(row) for row in rows} == {4}


def test_signature_is_the_one_of_the_reference_client():
    """Our signed request carries the signature that botocore makes of the same request."""
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    ours = s3.signed_headers("PUT", "/bertjob", host="127.0.0.1:9", region="eu-x", keys=("AK", "SK"), at=at)

    request = AWSRequest(method="PUT", url="http://127.0.0.1:9/bertjob", data=b"")
    request.headers["X-Amz-Content-Sha256"] = ours["X-Amz-Content-Sha256"]
    request.headers["X-Amz-Date"] = ours["X-Amz-Date"]
    request.context["timestamp"] = ours["X-Amz-Date"]
    reference = SigV4Auth(Credentials("AK", "SK"), "s3", "eu-x")
    signature = reference.signature(reference.string_to_sign(request, reference.canonical_request(request)), request)
    assert ours["Authorization"].endswith(f"Signature={signature}")


def test_webhooks_by_address():
    """A webhook of the chart is called at the manager's address, and its Deployment is left out."""
    service = {"name": "s", "namespace": "n", "path": "/mutate-pods"}
    webhooks = [{"name": "w", "clientConfig": {"service": service, "caBundle": "Cg=="}}]
    chart = [
        {"kind": "MutatingWebhookConfiguration", "metadata": {"name": "m"}, "webhooks": webhooks},
        {"kind": "Deployment", "metadata": {"name": "kserve-controller-manager"}},
    ]
    manifests = kserve.for_a_process(chart, webhook_url="https://127.0.0.1:1", ca=b"PEM")

    assert [each["kind"] for each in manifests] == ["Namespace", "MutatingWebhookConfiguration"]
    assert manifests[1]["webhooks"][0]["clientConfig"] == {
        "url": "https://127.0.0.1:1/mutate-pods",
        "caBundle": "UEVN",
    }


def test_install_order():
    """Namespaces and CRDs, the largest first, come before everything, objects of the CRDs' kinds last."""
    crds = [
        {"kind": "CustomResourceDefinition", "metadata": {"name": name}, "spec": {"names": {"kind": name}}}
        for name in ("small", "larger-one")
    ]
    others = [{"kind": kind, "metadata": {"name": "x"}} for kind in ("small", "ConfigMap", "Namespace")]
    builtin, custom = install.in_order([*others, *crds])

    kinds = [each["kind"] for each in builtin]
    assert kinds == ["Namespace", "CustomResourceDefinition", "CustomResourceDefinition", "ConfigMap"]
    assert [each["metadata"]["name"] for each in builtin[1:3]] == ["larger-one", "small"]
    assert [each["kind"] for each in custom] == ["small"]


def test_install_paths():
    """Core, grouped and namespaced objects each have their path."""
    core = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}}
    grouped = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "a"}}

    assert install.path_of(core) == "/api/v1/namespaces/n/configmaps"
    assert install.path_of(grouped) == "/apis/rbac.authorization.k8s.io/v1/clusterroles"


def test_requests_work_in_a_deep_folder(tmp_path: Path):
    """The socket is reached where its path is longer than the kernel allows, and carries one line each way."""
    root = tmp_path / ("d" * 100)
    root.mkdir()
    with control.listen(Layout(root)) as server:
        server.setblocking(True)

        def echo() -> None:
            with server.accept()[0] as connection:
                heard = json.loads(control.read_line(connection))
                connection.sendall(json.dumps({"heard": heard}).encode() + b"\n")

        thread = threading.Thread(target=echo)
        thread.start()
        answer = control.ask(Layout(root), {"do": "x"})
        thread.join()

    assert answer == {"heard": {"do": "x"}}


def test_nobody_listens(tmp_path: Path):
    """A request to a folder without a cluster names the folder and the next step."""
    with pytest.raises(control.NotRunningError, match="start one with `up`"):
        control.ask(Layout(tmp_path), {"do": "x"})


def test_one_holder_per_folder(tmp_path: Path):
    """While a process holds the folder it is found, and nobody else gets it."""
    layout = Layout(tmp_path)

    assert owner.holder(layout) is None
    with owner.hold(layout):
        assert owner.holder(layout) == os.getpid()
        with pytest.raises(RuntimeError, match="already runs"):
            owner.hold(layout)
    assert owner.holder(layout) is None


def test_children_carry_the_marker():
    """A child can import us and names its cluster; without an id it carries no marker."""
    marked = child.child_env({"PYTHONPATH": "/else"}, cluster_id="abc")

    assert marked[child.MARKER] == "abc"
    assert marked["PYTHONPATH"].split(os.pathsep)[1] == "/else"
    assert child.MARKER not in child.child_env({})
