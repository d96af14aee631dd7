"""The cluster that the shell points at, for commands that look at a BertJob there."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from bertjob_api.cluster import BERT_JOB, Cluster, ClusterError, Object, UnavailableError
from bertjob_operator.runtime.http import connect


def is_configured(env: Mapping[str, str]) -> bool:
    """Return whether anything says which cluster to use; kubectl would silently try localhost:8080."""
    return (
        any(env.get(name) for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"))
        or (Path.home() / ".kube" / "config").is_file()
    )


@asynccontextmanager
async def connected() -> AsyncIterator[Cluster]:
    """
    Give the cluster of $KUBECONFIG or ~/.kube/config.

    Raises:
        ValueError: there is none, or it did not do what was asked; the message says which and what to do.

    """
    try:
        async with connect() as cluster:
            yield cluster
    except UnavailableError as error:
        raise ValueError(f"{error}; check KUBECONFIG, or start a cluster with `bertjob local up`") from error
    except ClusterError as error:
        raise ValueError(str(error)) from error


async def get(cluster: Cluster, namespace: str, name: str) -> Object:
    """Return a BertJob; ValueError when it is not there."""
    found = await cluster.list(BERT_JOB, namespace=namespace, name=name)
    if not found:
        raise ValueError(f"BertJob {namespace}/{name}: not found; `kubectl get bertjobs -A` lists what there is")
    return found[0]
