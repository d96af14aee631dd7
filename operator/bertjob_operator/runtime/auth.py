"""Who we are to the API server, and how we know that it is the API server."""

import asyncio
import os
import ssl
import urllib.request
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bertjob_api.cluster import ForbiddenError
from bertjob_operator.runtime.access import ServiceAccount, Source

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Folder in which a pod finds ``token`` and ``ca.crt``. Source: Kubernetes documentation, "Accessing the API from a Pod"."""

REFRESH: Final = timedelta(seconds=60)
"""How often tokens are looked at again: files change without notice, exec plugins and OIDC say when theirs end."""


class Credentials:
    """Address, TLS and token of one cluster; the token follows its source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._access = source.access
        self._read_at = _now()
        self._reading = asyncio.Lock()
        self.host = self._access.host.rstrip("/")
        self.proxy = self._access.proxy or _system_proxy(self.host)
        self.server_name = self._access.server_name
        """Name to expect in the server's certificate; None: that of the address."""

    async def headers(self, *, renew: bool = False) -> dict[str, str]:
        """Return the headers that prove who we are, read again when they are old or *renew* says that they failed."""
        async with self._reading:
            if renew or _now() - self._read_at > REFRESH.total_seconds():
                try:
                    await self._source.reload()
                except (OSError, ValueError) as error:
                    raise ForbiddenError(f"credentials could not be read again: {error}") from error
                self._read_at = _now()
            value = await self._source.authorization()
        return {"Authorization": value} if value else {}

    def ssl_context(self) -> ssl.SSLContext:
        """Return how to check the server and, with a client certificate, how to show ours."""
        access = self._access
        context = ssl.create_default_context(cafile=access.ca_file)
        # Python 3.13 began to refuse CAs without some extensions; clusters' own CAs are often like that.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if access.cert_file:
            context.load_cert_chain(access.cert_file, access.key_file)
        if not access.verifies:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


async def load(kubeconfig: Path | None = None, *, service_account: Path | None = None) -> Credentials:
    """
    Return the credentials of *kubeconfig*, else $KUBECONFIG, else ~/.kube/config, else of the pod we run in.

    Args:
        kubeconfig: file of this name; None: the usual ones.
        service_account: folder with a pod's ``token`` and ``ca.crt``; then no kubeconfig is looked for.

    Raises:
        ValueError: none of them is there, or it cannot be used.

    """
    files = None if service_account is not None else _files(kubeconfig)
    try:
        if files is None:
            return Credentials(ServiceAccount(service_account or SERVICE_ACCOUNT))
        from bertjob_operator.runtime import kubeconfig as reading  # noqa: PLC0415  # costs 23 MiB

        return Credentials(await reading.load(files))
    except (OSError, ValueError) as error:
        account = service_account or "~/.kube/config is not there, and the service account of a pod"
        where = f"kubeconfig {files}" if files else account
        raise ValueError(
            f"{where} cannot be used: {error}; set KUBECONFIG to a file that works with kubectl"
        ) from error


def _files(kubeconfig: Path | None) -> str | None:
    """Return the kubeconfig, or several joined by ``os.pathsep``; None when there is none."""
    if kubeconfig is not None or os.environ.get("KUBECONFIG"):
        files = str(kubeconfig or os.environ["KUBECONFIG"])
        if not any(Path(file).expanduser().is_file() for file in files.split(os.pathsep) if file):
            raise ValueError(f"kubeconfig {files}: no such file; name an existing one or unset KUBECONFIG")
        return files
    usual = Path.home() / ".kube" / "config"
    return str(usual) if usual.is_file() else None


def _system_proxy(host: str) -> str | None:
    """Return the proxy that the environment names for *host*; as in kubectl, loopback never has one."""
    parts = urlsplit(host)
    name = parts.hostname or ""
    if _is_loopback(name) or urllib.request.proxy_bypass(name):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _is_loopback(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _now() -> float:
    return asyncio.get_running_loop().time()
