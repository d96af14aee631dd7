"""
The narrow seam between the operator and a cluster: six questions and commands.

Two implementations: the HTTP API (``bertjob_operator.runtime``) and the in-memory one (``bertjob_local.embedded``). One
conformance suite (``tests/conformance``) holds both to the promises written here.

Errors::

    ClusterError            the cycle ends, the key is tried again later
    +- NotFound             the object is not there
    +- Conflict             somebody else changed it first: stale version, other uid, or the tested value differs
    +- Invalid              refused by validation; trying again does not help
    +- Forbidden            no rights; the message names verb and resource
    +- Unavailable          no answer, 429 or 5xx: nothing is known about the outcome
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, Protocol

from bertjob_api import names

Object = dict[str, Any]
"""A Kubernetes object as decoded JSON. Whoever gets one from a cluster must not change it."""


class Kind(NamedTuple):
    """A resource type."""

    group: str
    """"" for the core group."""
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """Return the value of ``apiVersion`` in objects of this kind."""
        return f"{self.group}/{self.version}" if self.group else self.version


BERT_JOB: Final = Kind(names.GROUP, names.VERSION, names.KIND, names.PLURAL)
POD: Final = Kind("", "v1", "Pod", "pods")
SERVICE: Final = Kind("", "v1", "Service", "services")
CONFIG_MAP: Final = Kind("", "v1", "ConfigMap", "configmaps")
SECRET: Final = Kind("", "v1", "Secret", "secrets")
SERVICE_ACCOUNT: Final = Kind("", "v1", "ServiceAccount", "serviceaccounts")
NODE: Final = Kind("", "v1", "Node", "nodes", namespaced=False)
NAMESPACE: Final = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
EVENT: Final = Kind("events.k8s.io", "v1", "Event", "events")
JOB: Final = Kind("batch", "v1", "Job", "jobs")
DEPLOYMENT: Final = Kind("apps", "v1", "Deployment", "deployments")
LEASE: Final = Kind("coordination.k8s.io", "v1", "Lease", "leases")
NETWORK_POLICY: Final = Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
WORKLOAD: Final = Kind("kueue.x-k8s.io", "v1beta2", "Workload", "workloads")
"""What Kueue makes of a Job that waits in a queue."""
INFERENCE_SERVICE: Final = Kind("serving.kserve.io", "v1beta1", "InferenceService", "inferenceservices")
SERVING_RUNTIME: Final = Kind("serving.kserve.io", "v1alpha1", "ServingRuntime", "servingruntimes")
CLUSTER_SERVING_RUNTIME: Final = Kind(
    "serving.kserve.io", "v1alpha1", "ClusterServingRuntime", "clusterservingruntimes", namespaced=False
)

KINDS: Final = (
    BERT_JOB,
    POD,
    SERVICE,
    CONFIG_MAP,
    SECRET,
    SERVICE_ACCOUNT,
    NODE,
    NAMESPACE,
    EVENT,
    JOB,
    DEPLOYMENT,
    LEASE,
    NETWORK_POLICY,
    WORKLOAD,
    INFERENCE_SERVICE,
    SERVING_RUNTIME,
    CLUSTER_SERVING_RUNTIME,
)


class Ref(NamedTuple):
    """Which object is meant."""

    kind: Kind
    namespace: str
    """"" for cluster-wide kinds."""
    name: str

    def __str__(self) -> str:
        """Return the spelling for messages: ``Pod default/x``."""
        return f"{self.kind.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Change:
    """One element of a watch."""

    type: Literal["Added", "Modified", "Deleted", "Synced"]
    """Synced comes once, when everything that existed at the start has been delivered; its object is empty."""
    object: Object


class ClusterError(Exception):
    """A cluster did not do what was asked; see the tree in the module's docstring."""


class NotFoundError(ClusterError):
    """The object is not there."""


class ConflictError(ClusterError):
    """Somebody else changed the object first."""


class InvalidError(ClusterError):
    """Validation or admission refused the object."""


class ForbiddenError(ClusterError):
    """The caller has no right to do this."""


class UnavailableError(ClusterError):
    """No answer, or one that says try again."""


class Cluster(Protocol):
    """What the operator and the process kubelet ask of a cluster."""

    async def list(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> list[Object]:
        """
        Return the objects of *kind*, newest state, without ``metadata.managedFields``.

        Args:
            kind: resource type; one the cluster does not serve gives [].
            namespace: None for all.
            labels: only objects that carry all of them.
            name: only this one (a get that gives [] for absent).

        """
        ...

    async def apply(self, obj: Object, *, manager: str) -> Object:
        """
        Server-side apply by *manager*, forced, and return the stored object.

        Afterwards every field of *obj* stands in the object; a field that this manager applied before and now leaves out is
        removed, if nobody else applied it; fields of others stay. Creates the object when it is absent, unless
        ``metadata.uid`` is given, which must then match.

        Raises:
            ConflictError: ``metadata.uid`` or ``metadata.resourceVersion`` is given and differs.
            InvalidError: refused by schema, CEL or immutability.

        """
        ...

    async def replace(
        self, ref: Ref, path: str, *, old: object, new: object, uid: str, resource_version: str | None = None
    ) -> Object:
        """
        Replace one existing field (JSON pointer *path*) if it still holds *old*, and return the stored object.

        Raises:
            NotFoundError, ConflictError: the object, its uid, its version or the old value is not as given.

        """
        ...

    async def patch_status(
        self, ref: Ref, status: Mapping[str, Any], *, uid: str | None = None, resource_version: str | None = None
    ) -> Object:
        """
        Merge *status* into the status subresource (RFC 7386: lists replaced, null removes) and return the stored object.

        Touches nothing but status, and does not move the generation. *uid* and *resource_version*, when given, must match;
        the version makes it one request where the uid alone takes a read before.
        """
        ...

    async def delete(self, ref: Ref, *, uid: str | None = None, grace_seconds: int | None = None) -> None:
        """
        Delete an object and, in the background, what it owns; one that is gone already is no error.

        Args:
            ref: the object.
            uid: delete only this incarnation; another one raises ConflictError.
            grace_seconds: for pods: time to end by themselves; None: as the pod says; 0: gone at once.

        """
        ...

    def changes(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        keep: Callable[[Object], Object] | None = None,
    ) -> AsyncIterator[Change]:
        """
        Yield every existing object as Added, then Synced, then each change in order, for ever.

        Survives a restart of the API server and an expired version: what happened in between is delivered as Added, Modified
        and Deleted. Objects come without ``metadata.managedFields``. An object that leaves the label selection is Deleted.

        Args:
            kind: resource type.
            namespace: None for all.
            labels: only objects that carry all of them.
            keep: gives what of an object is wanted, its name, uid and version included; nothing else of it is held in
                memory. None: all.

        """
        ...


def ref_of(obj: Object) -> Ref:
    """Return the reference of an object of a known kind."""
    metadata = obj["metadata"]
    kind = next(kind for kind in KINDS if (kind.api_version, kind.kind) == (obj["apiVersion"], obj["kind"]))
    return Ref(kind, metadata.get("namespace", "") if kind.namespaced else "", metadata["name"])
