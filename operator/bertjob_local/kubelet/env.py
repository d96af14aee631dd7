"""
The environment of a container, from its spec and what it refers to. Pure.

Source: Kubernetes documentation, "Define Environment Variables for a Container" and "Downward API".
"""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bertjob_api import cluster
from bertjob_api.cluster import Object, Ref
from bertjob_local.kubelet.quantity import scaled
from bertjob_local.kubelet.substitution import expanded

_KEYED = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")


class ConfigError(Exception):
    """A container cannot be started as its spec stands; the message goes into its waiting state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a pod's containers may refer to."""

    pod: Object
    pod_ip: str
    host_ip: str
    objects: Mapping[Ref, Object]
    """ConfigMaps and Secrets that exist."""
    api_server: Mapping[str, str]
    """Variables by which every container finds the API server; empty: there is none."""


def environment(container: Mapping[str, Any], around: Surroundings) -> dict[str, str]:
    """
    Return the variables that the container's spec sets.

    Raises:
        ConfigError: an object or key that is not optional is missing.

    """
    result: dict[str, str] = dict(around.api_server)
    for source in container.get("envFrom", ()):
        result |= _all_of(source, around)
    for item in container.get("env", ()):
        value = _value(item, container, around, result)
        if value is not None:
            result[item["name"]] = value
    return result


def field(path: str, around: Surroundings) -> str:
    """Return the pod's field at *path*, as the downward API gives it; an absent label or annotation is empty."""
    pod = around.pod
    keyed = _KEYED.match(path)
    if keyed:
        return str((pod["metadata"].get(keyed[1]) or {}).get(keyed[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        values = pod["metadata"].get(path.partition(".")[2]) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(values.items()))
    known: dict[str, str] = {
        "metadata.name": pod["metadata"]["name"],
        "metadata.namespace": pod["metadata"]["namespace"],
        "metadata.uid": pod["metadata"]["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
        "status.podIP": around.pod_ip,
        "status.podIPs": around.pod_ip,
        "status.hostIP": around.host_ip,
        "status.hostIPs": around.host_ip,
    }
    if path not in known:
        raise ConfigError(
            f"fieldRef {path}: unknown; known are {', '.join(known)}, metadata.labels, metadata.annotations"
        )
    return known[path]


def content(obj: Object) -> dict[str, bytes]:
    """Return keys and values of a ConfigMap or Secret."""
    encoded = obj.get("data") or {} if obj["kind"] == "Secret" else obj.get("binaryData") or {}
    plain = {} if obj["kind"] == "Secret" else obj.get("data") or {}
    return {
        **{key: value.encode() for key, value in plain.items()},
        **{key: base64.b64decode(value) for key, value in encoded.items()},
    }


def references(pod: Object) -> frozenset[Ref]:
    """Return the ConfigMaps and Secrets that a pod mentions."""
    namespace, spec = pod["metadata"]["namespace"], pod["spec"]
    found: set[Ref] = set()
    for key, name in _mentions([spec.get("initContainers", ()), spec["containers"], spec.get("volumes", ())]):
        kind = cluster.SECRET if key.startswith("secret") else cluster.CONFIG_MAP
        found.add(Ref(kind, namespace, name))
    return frozenset(found)


def _mentions(value: Any) -> Iterator[tuple[str, str]]:
    """Yield each reference below *value* as the key it stands under and the object's name."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in ("configMap", "configMapRef", "configMapKeyRef", "secret", "secretRef", "secretKeyRef"):
                yield key, item.get("name") or item.get("secretName", "")
            else:
                yield from _mentions(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _mentions(item)


def _value(
    item: Mapping[str, Any], container: Mapping[str, Any], around: Surroundings, known: Mapping[str, str]
) -> str | None:
    """Return one variable's value, or None when it is optional and there is nothing to set."""
    source = item.get("valueFrom")
    if not source:
        return expanded(item.get("value", ""), known)
    if "fieldRef" in source:
        return field(source["fieldRef"]["fieldPath"], around)
    if "resourceFieldRef" in source:
        return _resource(source["resourceFieldRef"], container)
    for key, kind in (("configMapKeyRef", cluster.CONFIG_MAP), ("secretKeyRef", cluster.SECRET)):
        if key in source:
            return _keyed(source[key], kind, around)
    raise ConfigError(f"env {item['name']}: unknown source {', '.join(source)}")


def _keyed(source: Mapping[str, Any], kind: cluster.Kind, around: Surroundings) -> str | None:
    obj = around.objects.get(Ref(kind, around.pod["metadata"]["namespace"], source["name"]))
    value = None if obj is None else content(obj).get(source["key"])
    if value is not None:
        return value.decode()
    if source.get("optional"):
        return None
    missing = f"{kind.kind} {source['name']} does not exist" if obj is None else f"no key {source['key']}"
    raise ConfigError(f"{kind.kind} {source['name']}, key {source['key']}: {missing}; create it")


def _all_of(source: Mapping[str, Any], around: Surroundings) -> dict[str, str]:
    is_secret = "secretRef" in source
    reference = source["secretRef" if is_secret else "configMapRef"]
    kind = cluster.SECRET if is_secret else cluster.CONFIG_MAP
    obj = around.objects.get(Ref(kind, around.pod["metadata"]["namespace"], reference["name"]))
    if obj is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f"{kind.kind} {reference['name']}: does not exist; create it")
    return {source.get("prefix", "") + key: value.decode() for key, value in content(obj).items()}


def _resource(source: Mapping[str, Any], container: Mapping[str, Any]) -> str:
    kind, _, name = source["resource"].partition(".")
    resources = container.get("resources") or {}
    amount = (resources.get(kind) or {}).get(name) or (resources.get("limits") or {}).get(name)
    if amount is None:
        raise ConfigError(f"resourceFieldRef {source['resource']}: the container does not set it")
    return str(scaled(str(amount), divisor=str(source.get("divisor") or "1")))
