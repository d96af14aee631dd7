"""Keys, certificates and tokens of one cluster, made with the ``openssl`` command."""

import csv
import io
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bertjob_local.parts.layout import Layout

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
"""Elliptic keys: made in milliseconds, RSA takes a second on a busy machine."""

_DAYS = ("-days", "3650")

KSERVE_NAMESPACE = "kserve"


@dataclass(frozen=True, slots=True)
class Identity:
    """Someone the API server knows by token."""

    name: str
    user: str
    groups: tuple[str, ...] = ()


IDENTITIES = (
    Identity("admin", "kubernetes-admin", ("system:masters",)),
    Identity("controller-manager", "system:kube-controller-manager"),
    Identity("scheduler", "system:kube-scheduler"),
    # KServe's manager under its own service account, so that its chart's RBAC is what it works with.
    Identity(
        "kserve",
        f"system:serviceaccount:{KSERVE_NAMESPACE}:kserve-controller-manager",
        ("system:serviceaccounts", f"system:serviceaccounts:{KSERVE_NAMESPACE}"),
    ),
)


def create(layout: Layout) -> dict[str, str]:
    """
    Write a fresh CA, its certificates, the service account key and the token file.

    Returns:
        The token of each identity, by its name.

    Raises:
        RuntimeError: ``openssl`` is missing or too old.

    """
    pki = layout.pki
    _openssl(ca_argv(pki))
    _openssl(serving_argv(pki))
    _openssl(client_argv(pki))
    _openssl(("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(pki / "sa.key")))
    _openssl(("pkey", "-in", str(pki / "sa.key"), "-pubout", "-out", str(pki / "sa.pub")))
    tokens = {identity.name: secrets.token_urlsafe(32) for identity in IDENTITIES}
    layout.tokens.write_text(token_file(tokens))
    return tokens


def ca_argv(pki: Path) -> tuple[str, ...]:
    """Return openssl's arguments for the CA."""
    out = ("-keyout", str(pki / "ca.key"), "-out", str(pki / "ca.crt"))
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    return ("req", "-x509", *CURVE, *out, *_DAYS, "-subj", "/CN=bertjob-local", *usage)


def serving_argv(pki: Path) -> tuple[str, ...]:
    """Return openssl's arguments for the one serving certificate of everything on loopback."""
    names = "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
    # Every 127.0.0.x: Nodes have such addresses, and the API server checks their kubelets' certificate.
    addresses = ",".join(f"IP:127.0.0.{last}" for last in range(1, 255))
    sans = f"subjectAltName={names},IP:127.100.0.1,{addresses}"
    return _signed_argv(pki, "serving", subject="/CN=bertjob-local-serving", sans=sans, usage="serverAuth")


def client_argv(pki: Path) -> tuple[str, ...]:
    """Return openssl's arguments for the certificate that the API server shows to kubelets."""
    subject = "/O=system:masters/CN=kube-apiserver-kubelet-client"
    return _signed_argv(pki, "kubelet-client", subject=subject, sans="", usage="clientAuth")


def token_file(tokens: dict[str, str]) -> str:
    """Return the text of the API server's token file; it holds secrets."""
    text = io.StringIO()
    rows = csv.writer(text)
    for each in IDENTITIES:
        rows.writerow((tokens[each.name], each.user, each.name, ",".join(each.groups)))
    return text.getvalue()


def _signed_argv(pki: Path, name: str, *, subject: str, sans: str, usage: str) -> tuple[str, ...]:
    signer = ("-CA", str(pki / "ca.crt"), "-CAkey", str(pki / "ca.key"))
    out = ("-keyout", str(pki / f"{name}.key"), "-out", str(pki / f"{name}.crt"))
    extensions = (f"extendedKeyUsage={usage}", "basicConstraints=critical,CA:FALSE", *([sans] if sans else []))
    options = (word for extension in extensions for word in ("-addext", extension))
    return ("req", "-x509", *CURVE, *signer, *out, *_DAYS, "-subj", subject, *options)


def _openssl(arguments: tuple[str, ...]) -> None:
    try:
        done = subprocess.run(("openssl", *arguments), capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        msg = "openssl is not on PATH; install it (3.0 or newer)"
        raise RuntimeError(msg) from error
    if done.returncode:
        msg = f"openssl {arguments[0]} ended {done.returncode}: {done.stderr[-500:]}; 3.0 or newer is needed"
        raise RuntimeError(msg)
