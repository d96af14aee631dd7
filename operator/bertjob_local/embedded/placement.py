"""Which node a pod gets. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from bertjob_api.cluster import Object
from bertjob_local.embedded import pods


def node_for(pod: Object, *, nodes: Iterable[Object], all_pods: Iterable[Object]) -> str | None:
    """Return the Ready node with the fewest pods that the pod's nodeSelector allows, or None when there is none."""
    load = Counter(each["spec"].get("nodeName") for each in all_pods if not pods.is_ended(each))
    fit = [node["metadata"]["name"] for node in nodes if _takes(node, pod["spec"].get("nodeSelector") or {})]
    return min(fit, key=lambda name: (load[name], name), default=None)


def _takes(node: Object, selector: Mapping[str, Any]) -> bool:
    labels = node["metadata"].get("labels") or {}
    is_open = pods.has_condition(node, "Ready") and not node.get("spec", {}).get("unschedulable")
    return is_open and all(labels.get(key) == value for key, value in selector.items())
