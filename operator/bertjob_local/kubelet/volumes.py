"""A pod's volumes as folders of this machine."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bertjob_api import cluster
from bertjob_api.cluster import Kind, Object, Ref
from bertjob_local.kubelet import env
from bertjob_local.kubelet.env import ConfigError, Surroundings

Tokens = Callable[[Object, Mapping[str, Any]], Awaitable[str | None]]
"""Returns a token for a pod as a ``serviceAccountToken`` projection asks for it, or None where there are none."""

Files = dict[str, bytes]


async def prepare(around: Surroundings, *, root: Path, tokens: Tokens) -> dict[str, Path]:
    """
    Make the pod's volumes below *root* and return their folders by name.

    Raises:
        ConfigError: a ConfigMap, Secret or key that is not optional is missing, or the kind of volume is unknown.

    """
    result = {}
    for volume in around.pod["spec"].get("volumes", ()):
        if "hostPath" in volume:
            result[volume["name"]] = Path(volume["hostPath"]["path"])
            continue
        files = await _files(volume, around, tokens)
        folder = root / volume["name"]
        folder.mkdir(parents=True, exist_ok=True)
        _write(files, folder)
        result[volume["name"]] = folder
    return result


def mounts(container: Mapping[str, Any], folders: Mapping[str, Path]) -> list[tuple[str, Path]]:
    """Return mount path and folder of each of a container's volume mounts; sub paths are made as folders when absent."""
    result = []
    for mount in container.get("volumeMounts", ()):
        folder = folders[mount["name"]] / mount.get("subPath", "")
        if not folder.exists():
            folder.mkdir(parents=True)
        result.append((mount["mountPath"], folder))
    return result


async def _files(volume: Mapping[str, Any], around: Surroundings, tokens: Tokens) -> Files:
    if "emptyDir" in volume:
        return {}
    if "configMap" in volume:
        return _of_object(volume["configMap"], cluster.CONFIG_MAP, around, volume["configMap"]["name"])
    if "secret" in volume:
        return _of_object(volume["secret"], cluster.SECRET, around, volume["secret"]["secretName"])
    if "downwardAPI" in volume:
        return _of_fields(volume["downwardAPI"], around)
    if "projected" in volume:
        return await _projected(volume["projected"]["sources"], around, tokens)
    kind = next((key for key in volume if key != "name"), "none")
    known = "emptyDir, configMap, secret, downwardAPI, projected, hostPath"
    raise ConfigError(f"volume {volume['name']}: {kind} is not available for local processes; use one of {known}")


async def _projected(sources: Iterable[Mapping[str, Any]], around: Surroundings, tokens: Tokens) -> Files:
    files: Files = {}
    for source in sources:
        if "configMap" in source:
            files |= _of_object(source["configMap"], cluster.CONFIG_MAP, around, source["configMap"]["name"])
        elif "secret" in source:
            files |= _of_object(source["secret"], cluster.SECRET, around, source["secret"]["name"])
        elif "downwardAPI" in source:
            files |= _of_fields(source["downwardAPI"], around)
        elif "serviceAccountToken" in source:
            token = await tokens(around.pod, source["serviceAccountToken"])
            files |= {} if token is None else {source["serviceAccountToken"]["path"]: token.encode()}
    return files


def _of_object(source: Mapping[str, Any], kind: Kind, around: Surroundings, name: str) -> Files:
    obj = around.objects.get(Ref(kind, around.pod["metadata"]["namespace"], name))
    if obj is None:
        if source.get("optional"):
            return {}
        raise ConfigError(f"{kind.kind} {name}: does not exist; create it")
    have = env.content(obj)
    if "items" not in source:
        return have
    missing = [item["key"] for item in source["items"] if item["key"] not in have]
    if missing and not source.get("optional"):
        raise ConfigError(f"{kind.kind} {name}: has no key {', '.join(missing)}; add it")
    return {item["path"]: have[item["key"]] for item in source["items"] if item["key"] in have}


def _of_fields(source: Mapping[str, Any], around: Surroundings) -> Files:
    items = [item for item in source.get("items", ()) if "fieldRef" in item]
    return {item["path"]: env.field(item["fieldRef"]["fieldPath"], around).encode() for item in items}


def _write(files: Mapping[str, bytes], folder: Path) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o600)
