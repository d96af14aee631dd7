"""The parts of one cluster as values: commands, order, probes. Nothing here runs anything."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL, SIGTERM

from bertjob_local.parts.layout import Layout
from bertjob_local.parts.part import KUBELET_MODULE, Part, Probe
from bertjob_local.parts.pki import KSERVE_NAMESPACE
from bertjob_local.parts.ports import Ports
from bertjob_local.parts.settings import Settings

LOOPBACK = "127.0.0.1"
SERVICE_CIDR = "127.100.0.0/16"
"""Cluster IPs on loopback, so that the process kubelet can listen on them without root."""

S3_REGION = "us-east-1"

# The slice controllers are off because the API refuses loopback addresses in endpoints; the others
# speak to a cloud or hand out pod networks.
_CONTROLLERS_OFF = (
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
    "node-ipam-controller",
    "node-route-controller",
    "service-lb-controller",
    "cloud-node-lifecycle-controller",
)

# Upstream takes 50 s to notice a lost node and 300 s to evict its pods; here a person waits for it.
_NODE_GRACE = "20s"
_EVICT_AFTER_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything that the commands depend on."""

    layout: Layout
    ports: Ports
    settings: Settings
    binaries: Mapping[str, Path]
    tokens: Mapping[str, str] = field(repr=False)
    s3_keys: tuple[str, str] = field(repr=False)
    """Access key and secret key of the S3 gateway."""
    charts: Path | None
    """Folder with kserve-crd and kserve-resources; None when KServe is not wanted."""


def parts(given: Inputs) -> tuple[Part, ...]:
    """Return the parts that the settings ask for, tasks included."""
    builders = {
        "etcd": (_etcd,),
        "apiserver": (_apiserver,),
        "controller-manager": (_controller_manager,),
        "scheduler": (_scheduler,),
        "s3": (_s3, _s3_bucket),
        "kserve": (_kserve_render, _kserve_install, _kserve),
        "kubelet": (_kubelet,),
    }
    return tuple(build(given) for name in given.settings.parts for build in builders[name])


def binaries_for(settings: Settings) -> tuple[str, ...]:
    """Return the names of the binaries that the settings need; kubectl and helm come with an API server."""
    needed = {
        "etcd": ("etcd",),
        "apiserver": ("kube-apiserver", "kubectl", "helm"),
        "controller-manager": ("kube-controller-manager",),
        "scheduler": ("kube-scheduler",),
        "s3": ("versitygw",),
        "kserve": ("kserve-manager",),
        "kubelet": (),
    }
    return tuple(name for part in settings.parts for name in needed[part])


def server_url(ports: Ports) -> str:
    """Return the API server's address."""
    return f"https://{LOOPBACK}:{ports.apiserver}"


def s3_url(ports: Ports) -> str:
    """Return the S3 gateway's address."""
    return f"http://{LOOPBACK}:{ports.s3}"


def _etcd(given: Inputs) -> Part:
    client = f"http://{LOOPBACK}:{given.ports.etcd_client}"
    peer = f"http://{LOOPBACK}:{given.ports.etcd_peer}"
    argv = (
        str(given.binaries["etcd"]),
        f"--data-dir={given.layout.etcd}",
        "--unsafe-no-fsync",  # its data does not outlive the cluster
        "--log-level=warn",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
    )
    return Part(name="etcd", argv=argv, probe=Probe(url=f"{client}/health"), port=given.ports.etcd_client)


def _apiserver(given: Inputs) -> Part:
    pki, ports = given.layout.pki, given.ports
    # Without controllers nobody makes the default service accounts that this plugin demands of every pod.
    alone = "controller-manager" not in given.settings.parts
    argv = (
        str(given.binaries["kube-apiserver"]),
        f"--etcd-servers=http://{LOOPBACK}:{ports.etcd_client}",
        f"--bind-address={LOOPBACK}",
        f"--advertise-address={LOOPBACK}",
        f"--secure-port={ports.apiserver}",
        f"--tls-cert-file={pki / 'serving.crt'}",
        f"--tls-private-key-file={pki / 'serving.key'}",
        f"--token-auth-file={given.layout.tokens}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--endpoint-reconciler-type=none",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki / 'sa.pub'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        f"--kubelet-client-certificate={pki / 'kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'kubelet-client.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--default-not-ready-toleration-seconds={_EVICT_AFTER_S}",
        f"--default-unreachable-toleration-seconds={_EVICT_AFTER_S}",
        # As on OpenShift: who sets blockOwnerDeletion must have the right to update the owner's finalizers.
        "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
        *(["--disable-admission-plugins=ServiceAccount"] if alone else []),
    )
    return Part(
        name="apiserver",
        argv=argv,
        needs=("etcd",),
        probe=Probe(url=f"{server_url(ports)}/readyz", token=given.tokens["admin"]),
        port=ports.apiserver,
        # It keeps no state, and a polite end waits for every open watch.
        stop_signal=SIGKILL,
    )


def _controller_manager(given: Inputs) -> Part:
    pki = given.layout.pki
    controllers = ",".join(("*", *(f"-{name}" for name in _CONTROLLERS_OFF)))
    more = (
        f"--controllers={controllers}",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={pki / 'sa.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        "--node-monitor-period=2s",
        f"--node-monitor-grace-period={_NODE_GRACE}",
    )
    return _client_part(given, "controller-manager", port=given.ports.controller_manager, more=more)


def _scheduler(given: Inputs) -> Part:
    return _client_part(given, "scheduler", port=given.ports.scheduler, more=())


def _client_part(given: Inputs, name: str, *, port: int, more: tuple[str, ...]) -> Part:
    """Return one of the two daemons that take the same flags for who they are and where they listen."""
    pki = given.layout.pki
    argv = (
        str(given.binaries[f"kube-{name}"]),
        f"--kubeconfig={given.layout.kubeconfig_of(name)}",
        "--leader-elect=false",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port}",
        f"--tls-cert-file={pki / 'serving.crt'}",
        f"--tls-private-key-file={pki / 'serving.key'}",
        *more,
    )
    probe = Probe(url=f"https://{LOOPBACK}:{port}/healthz")
    return Part(name=name, argv=argv, needs=("apiserver",), probe=probe, port=port)


def _s3(given: Inputs) -> Part:
    layout, address = given.layout, f"{LOOPBACK}:{given.ports.s3}"
    common = (f"--port={address}", f"--region={S3_REGION}", "--quiet", "--keep-alive", "--health=/healthz")
    backend = ("posix", f"--sidecar={layout.s3_meta}", str(layout.s3_data))
    return Part(
        name="s3",
        argv=(str(given.binaries["versitygw"]), *common, *backend),
        env=_s3_keys(given),
        probe=Probe(url=f"{s3_url(given.ports)}/healthz"),
        port=given.ports.s3,
    )


def _s3_bucket(given: Inputs) -> Part:
    argv = (sys.executable, "-m", "bertjob_local.parts.s3", s3_url(given.ports), S3_REGION)
    return Part(name="s3-bucket", argv=argv, env=_s3_keys(given), needs=("s3",), task=True)


def _s3_keys(given: Inputs) -> dict[str, str]:
    access, secret = given.s3_keys
    return {"ROOT_ACCESS_KEY": access, "ROOT_SECRET_KEY": secret}


def _kserve_render(given: Inputs) -> Part:
    assert given.charts is not None, "KServe is wanted and its charts were not looked up"
    webhook = f"https://{LOOPBACK}:{given.ports.kserve_webhook}"
    argv = (
        *(sys.executable, "-m", "bertjob_local.parts.kserve"),
        *("--helm", str(given.binaries["helm"]), "--charts", str(given.charts)),
        *("--webhook-url", webhook, "--ca", str(given.layout.pki / "ca.crt")),
        *("--to", str(given.layout.kserve_manifests)),
    )
    return Part(name="kserve-render", argv=argv, task=True)


def _kserve_install(given: Inputs) -> Part:
    paths = (str(given.layout.kubeconfig), str(given.layout.kserve_manifests))
    argv = (sys.executable, "-m", "bertjob_local.parts.install", *paths)
    return Part(name="kserve-install", argv=argv, needs=("apiserver", "kserve-render"), task=True)


def _kserve(given: Inputs) -> Part:
    ports = given.ports
    argv = (
        str(given.binaries["kserve-manager"]),
        "--leader-elect=false",
        f"--webhook-port={ports.kserve_webhook}",
        f"--metrics-addr={LOOPBACK}:{ports.kserve_metrics}",
        f"--health-probe-addr={LOOPBACK}:{ports.kserve_health}",
    )
    env = {
        "KUBECONFIG": str(given.layout.kubeconfig_of("kserve")),
        "POD_NAMESPACE": KSERVE_NAMESPACE,
        "TMPDIR": str(given.layout.kserve),  # it looks for its serving certificate there
    }
    probe = Probe(url=f"http://{LOOPBACK}:{ports.kserve_health}/readyz")
    return Part(name="kserve", argv=argv, env=env, needs=("kserve-install",), probe=probe, port=ports.kserve_webhook)


def _kubelet(given: Inputs) -> Part:
    settings, layout = given.settings, given.layout
    images = ("--images", settings.images) if settings.images else ()
    argv = (
        *(sys.executable, "-m", KUBELET_MODULE, "--kubeconfig", str(layout.kubeconfig)),
        *("--nodes", str(settings.nodes), "--state", str(layout.kubelet), *images),
    )
    probe = Probe(
        url=f"{server_url(given.ports)}/api/v1/nodes",
        token=given.tokens["admin"],
        accepts=lambda body: ready_nodes(body) >= settings.nodes,
    )
    # It ends its pods when asked; killed outright it could not.
    return Part(name="kubelet", argv=argv, needs=("apiserver",), probe=probe, death_signal=SIGTERM)


def ready_nodes(node_list: bytes) -> int:
    """Return how many Nodes of a NodeList, as JSON, are Ready."""
    nodes = json.loads(node_list)["items"]
    conditions = [each for node in nodes for each in node["status"].get("conditions", ())]
    return sum(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
