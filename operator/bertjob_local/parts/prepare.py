"""Make everything a fresh cluster needs on disk, and turn the settings into parts."""

import json
import os
import secrets
import shutil
import ssl
from dataclasses import dataclass
from pathlib import Path

from bertjob_local import binaries
from bertjob_local.parts import kubeconfig, pki, plan
from bertjob_local.parts.layout import Layout
from bertjob_local.parts.part import Part
from bertjob_local.parts.ports import Ports, free_ports
from bertjob_local.parts.settings import Settings
from bertjob_local.parts.state import State

CHARTS = ("charts/kserve-crd", "charts/kserve-resources")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What the supervising process runs."""

    parts: tuple[Part, ...]
    trust: ssl.SSLContext
    """For probes over TLS."""
    state: State
    """The state to begin with."""


def prepare(layout: Layout, *, settings: Settings) -> Prepared:
    """
    Return the parts of a cluster whose folders, keys and files now exist.

    Raises:
        RuntimeError: a binary is missing, ``openssl`` failed or too few ports are free.

    """
    _fresh_folders(layout)
    ports = free_ports()
    tokens = pki.create(layout)
    _write_kubeconfigs(layout, ports=ports, tokens=tokens)
    _hand_out_certificates(layout)
    given = plan.Inputs(
        layout=layout,
        ports=ports,
        settings=settings,
        binaries=_binaries(settings),
        tokens=tokens,
        s3_keys=s3_keys(layout),
        charts=_charts(settings),
    )
    return Prepared(
        parts=plan.parts(given),
        trust=ssl.create_default_context(cafile=str(layout.pki / "ca.crt")),
        state=State(
            phase="starting",
            supervisor=os.getpid(),
            server=plan.server_url(ports),
            kubeconfig=str(layout.kubeconfig),
            s3_endpoint=plan.s3_url(ports) if "s3" in settings.parts else None,
        ),
    )


def s3_keys(layout: Layout) -> tuple[str, str]:
    """Return the S3 gateway's access key and secret key, made at the first call for a state folder."""
    path = layout.s3_credentials
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(json.dumps({"access": secrets.token_hex(10).upper(), "secret": secrets.token_urlsafe(30)}))
    keys = json.loads(path.read_text())
    return keys["access"], keys["secret"]


def _fresh_folders(layout: Layout) -> None:
    for folder in layout.fresh_each_time:
        shutil.rmtree(folder, ignore_errors=True)
    for log in layout.logs.glob("*.log"):
        if log != layout.log_of("supervisor"):  # this process's own output goes there
            log.unlink()
    for folder in (*layout.fresh_each_time, layout.s3_data, layout.s3_meta):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _write_kubeconfigs(layout: Layout, *, ports: Ports, tokens: dict[str, str]) -> None:
    ca = (layout.pki / "ca.crt").read_bytes()
    for name, token in tokens.items():
        config = kubeconfig.kubeconfig(plan.server_url(ports), ca=ca, user=name, token=token)
        kubeconfig.write(config, layout.kubeconfig_of(name))


def _hand_out_certificates(layout: Layout) -> None:
    """Put certificates where KServe's manager and the process kubelet look for theirs."""
    webhook = layout.kserve / "k8s-webhook-server" / "serving-certs"
    webhook.mkdir(parents=True)
    for folder, stem in ((webhook, "tls"), (layout.kubelet, "serving")):
        shutil.copy(layout.pki / "serving.crt", folder / f"{stem}.crt")
        shutil.copy(layout.pki / "serving.key", folder / f"{stem}.key")
    shutil.copy(layout.pki / "ca.crt", layout.kubelet / "ca.crt")


def _binaries(settings: Settings) -> dict[str, Path]:
    found = {name: binaries.locate(name) for name in plan.binaries_for(settings)}
    if lacking := [name for name, path in found.items() if path is None]:
        msg = f"binaries missing: {', '.join(lacking)}; build them with `python -m bertjob_local.binaries`"
        raise RuntimeError(msg)
    return {name: path for name, path in found.items() if path is not None}


def _charts(settings: Settings) -> Path | None:
    if "kserve" not in settings.parts:
        return None
    found = [binaries.locate_data(folder) for folder in CHARTS]
    if found[0] is None or found[1] is None:
        msg = "KServe's charts are missing; build them with `python -m bertjob_local.binaries`"
        raise RuntimeError(msg)
    return found[0].parent
