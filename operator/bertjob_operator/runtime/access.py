"""Where an API server is and how to trust it; the access that every pod has."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Address and TLS of one API server."""

    host: str
    """URL."""
    ca_file: str | None = None
    """Certificates to trust; None: the system's."""
    cert_file: str | None = None
    """Client certificate, with its key in *key_file*; None: none."""
    key_file: str | None = None
    verifies: bool = True
    """Whether the server's certificate is checked."""
    proxy: str | None = None
    """URL; None: what the environment names."""
    server_name: str | None = None
    """Name to expect in the server's certificate; None: that of the address."""


class Source(Protocol):
    """What proves who we are, and may change meanwhile."""

    @property
    def access(self) -> Access:
        """Where to, which stays."""
        ...

    async def reload(self) -> None:
        """Read the proof again. Raises ValueError and OSError."""
        ...

    async def authorization(self) -> str | None:
        """Return the value of the header ``Authorization``, or None: a client certificate is enough."""
        ...


class ServiceAccount:
    """
    The account of a pod: a folder with ``token`` and ``ca.crt``, and two variables.

    Source: Kubernetes documentation, "Accessing the Kubernetes API from a Pod".
    """

    def __init__(self, folder: Path, *, env: Mapping[str, str] = os.environ) -> None:
        host, port = (env.get(f"KUBERNETES_SERVICE_{name}") for name in ("HOST", "PORT"))
        if not host or not port:
            raise ValueError("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set")
        certificates = folder / "ca.crt"
        if not certificates.is_file() or not certificates.stat().st_size:
            raise ValueError(f"{certificates} is missing or empty, expected the certificate of the cluster")
        name = f"[{host}]" if ":" in host else host
        self.access = Access(host=f"https://{name}:{port}", ca_file=str(certificates))
        self._file = folder / "token"
        self._token = self._read()

    async def reload(self) -> None:
        """Read the token again: the kubelet replaces it before it ends."""
        self._token = self._read()

    async def authorization(self) -> str | None:
        """Return the header's value."""
        return f"Bearer {self._token}"

    def _read(self) -> str:
        token = self._file.read_text().strip()
        if not token:
            raise ValueError(f"{self._file} is empty, expected a token")
        return token
