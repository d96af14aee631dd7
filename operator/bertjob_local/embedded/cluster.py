"""A cluster in memory: what the operator and the process kubelet need of Kubernetes for a run on one machine."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from bertjob_api import cluster as api
from bertjob_api.cluster import Change, ConflictError, InvalidError, Kind, NotFoundError, Object, Ref, ref_of
from bertjob_local.embedded import merge
from bertjob_local.embedded.admission import admitted
from bertjob_local.embedded.controllers import Controllers
from bertjob_local.embedded.lifecycle import remove, stored
from bertjob_local.embedded.objects import STATUS_KINDS, Objects
from bertjob_local.embedded.settings import Settings


class EmbeddedCluster:
    """
    Implements ``bertjob_api.cluster.Cluster`` in one process and one event loop.

    ``run`` plays the controllers; without it objects are only stored.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.objects = Objects()
        self._applied: dict[str, dict[str, frozenset[merge.Path]]] = {}
        """By uid and manager: what that manager applied."""

    async def run(self) -> None:
        """Play the controllers until cancelled."""
        await Controllers(self.objects, self.settings).run()

    async def list(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> list[Object]:
        """See ``Cluster.list``."""
        return self.objects.select(kind, namespace=namespace, labels=labels, name=name)

    async def apply(self, obj: Object, *, manager: str) -> Object:
        """See ``Cluster.apply``; lists are replaced as a whole."""
        ref = _ref_of(obj)
        old = self.objects.get(ref)
        _check_identity(ref, old, obj["metadata"])
        wanted = merge.overlaid(_writable(ref.kind, obj), {})
        base: Object = {} if old is None else self._without_dropped(old, wanted, manager)
        new = admitted(ref.kind, merge.overlaid(base, wanted), old=old)
        result = stored(self.objects, ref, new)
        self._applied.setdefault(result["metadata"]["uid"], {})[manager] = merge.leaves(wanted)
        return result

    async def replace(
        self, ref: Ref, path: str, *, old: object, new: object, uid: str, resource_version: str | None = None
    ) -> Object:
        """See ``Cluster.replace``."""
        current = self._existing(ref)
        _check_identity(ref, current, {"uid": uid, "resourceVersion": resource_version})
        keys = merge.steps(path)
        try:
            found = merge.value_at(current, keys)
        except (KeyError, IndexError, TypeError, ValueError):
            raise ConflictError(f"{ref}: {path} is absent, expected {old!r}") from None
        if found != old:
            raise ConflictError(f"{ref}: {path} is {found!r}, expected {old!r}")
        self._disown(uid, keys)
        return stored(self.objects, ref, admitted(ref.kind, merge.replaced(current, keys, new), old=current))

    async def patch_status(
        self, ref: Ref, status: Mapping[str, Any], *, uid: str | None = None, resource_version: str | None = None
    ) -> Object:
        """See ``Cluster.patch_status``."""
        current = self._existing(ref)
        _check_identity(ref, current, {"uid": uid, "resourceVersion": resource_version})
        patched = {**current, "status": merge.merge_patched(current.get("status"), status)}
        return self.objects.put(ref, admitted(ref.kind, patched, old=current))

    async def delete(self, ref: Ref, *, uid: str | None = None, grace_seconds: int | None = None) -> None:
        """See ``Cluster.delete``."""
        current = self.objects.get(ref)
        if current is None:
            return
        _check_identity(ref, current, {"uid": uid})
        remove(self.objects, ref, grace_seconds=grace_seconds)

    async def changes(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        keep: Callable[[Object], Object] | None = None,
    ) -> AsyncGenerator[Change]:
        """See ``Cluster.changes``."""
        async with aclosing(self.objects.changes(kind, namespace=namespace, labels=labels)) as changes:
            async for change in changes:
                if keep is not None and change.type != "Synced":
                    yield Change(change.type, keep(change.object))
                else:
                    yield change

    def _existing(self, ref: Ref) -> Object:
        current = self.objects.get(ref)
        if current is None:
            raise NotFoundError(f"{ref} does not exist")
        return current

    def _without_dropped(self, old: Object, wanted: Object, manager: str) -> Object:
        applied = self._applied.get(old["metadata"]["uid"], {})
        kept = merge.leaves(wanted).union(*(paths for name, paths in applied.items() if name != manager))
        return merge.without(old, applied.get(manager, frozenset()) - kept)

    def _disown(self, uid: str, path: merge.Path) -> None:
        """Take the field at *path* from every manager: whoever changed it last has it now."""
        owners = self._applied.get(uid, {})
        for manager, paths in owners.items():
            owners[manager] = frozenset(each for each in paths if each[: len(path)] != path)


def _ref_of(obj: Object) -> Ref:
    if not any((kind.api_version, kind.kind) == (obj.get("apiVersion"), obj.get("kind")) for kind in api.KINDS):
        raise InvalidError(f"{obj.get('apiVersion')}, {obj.get('kind')}: this cluster has no such kind")
    ref = ref_of(obj)
    return ref._replace(namespace="default") if ref.kind.namespaced and not ref.namespace else ref


def _writable(kind: Kind, obj: Object) -> Object:
    """Return the fields of *obj* that an apply writes: no server-side metadata, and no status where that is separate."""
    server_side = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")
    metadata = {key: value for key, value in obj["metadata"].items() if key not in server_side}
    dropped = ("status",) if kind.kind in STATUS_KINDS else ()
    return {**{key: value for key, value in obj.items() if key not in dropped}, "metadata": metadata}


def _check_identity(ref: Ref, current: Object | None, wanted: Mapping[str, Any]) -> None:
    for key in ("uid", "resourceVersion"):
        if wanted.get(key) is None:
            continue
        found = current["metadata"][key] if current is not None else None
        if found != wanted[key]:
            raise ConflictError(f"{ref}: metadata.{key} is {found}, expected {wanted[key]}")
