"""
Access by a kubeconfig file, with every kind of user that kubectl knows.

Alone in importing the ``kubernetes`` package, which with its own imports takes 23 MiB: in a pod nothing needs it.
"""

from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, load_kube_config

from bertjob_operator.runtime.access import Access


class Kubeconfig:
    """The ``Source`` that a kubeconfig is; use ``load``."""

    def __init__(self, configuration: Any, loader: Any) -> None:
        self._configuration = configuration
        self._loader = loader
        self.access = Access(
            host=configuration.host,
            ca_file=configuration.ssl_ca_cert,
            cert_file=configuration.cert_file,
            key_file=configuration.key_file,
            verifies=bool(configuration.verify_ssl),
            proxy=configuration.proxy,
            server_name=configuration.tls_server_name,
        )

    async def reload(self) -> None:
        """Read the file again. Raises ValueError."""
        try:
            await self._loader.load_and_set(self._configuration)
        except ConfigException as error:
            raise ValueError(str(error)) from error

    async def authorization(self) -> str | None:
        """Return the header's value, newly asked for where a plugin says that the last one has ended."""
        token = await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        return str(token).strip() if token else None


async def load(files: str | Path) -> Kubeconfig:
    """Return the access that *files*, joined by ``os.pathsep``, describe. Raises ValueError and OSError."""
    configuration: Any = Configuration()
    try:
        # Writing a rotated token back would race with kubectl and with our other processes.
        loader = await load_kube_config(str(files), client_configuration=configuration, persist_config=False)
    except (ConfigException, KeyError, TypeError, yaml.YAMLError) as error:
        raise ValueError(str(error)) from error
    return Kubeconfig(configuration, loader)
