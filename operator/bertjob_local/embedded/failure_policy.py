"""
What a Job's pod failure policy says about a failed pod. Pure.

Source: Kubernetes documentation, "Handling retriable and non-retriable pod failures with Pod failure policy".
"""

from collections.abc import Iterator, Mapping
from typing import Any

from bertjob_api.cluster import Object
from bertjob_local.embedded import pods


def action_for(policy: Mapping[str, Any] | None, pod: Object) -> tuple[str, str]:
    """Return the action of the first rule that matches (Count when none does) and the sentence for the Job's condition."""
    for number, rule in enumerate((policy or {}).get("rules", ())):
        cause = _matches(rule, pod)
        if cause is not None:
            return rule["action"], f"{cause} matching {rule['action']} rule at index {number}"
    return "Count", ""


def _matches(rule: Mapping[str, Any], pod: Object) -> str | None:
    name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    for wanted in rule.get("onPodConditions", ()):
        if pods.condition(pod, wanted["type"]).get("status") == wanted.get("status", "True"):
            return f"Pod {name} has condition {wanted['type']}"
    codes = rule.get("onExitCodes")
    if not codes:
        return None
    for container, code in _exit_codes(pod):
        if codes.get("containerName") not in (None, container):
            continue
        if (code in codes["values"]) == (codes["operator"] == "In"):
            return f"Container {container} for pod {name} failed with exit code {code}"
    return None


def _exit_codes(pod: Object) -> Iterator[tuple[str, int]]:
    """Yield name and exit code of each container that failed."""
    status = pod.get("status", {})
    for each in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        ended = each.get("state", {}).get("terminated")
        if ended and ended["exitCode"] != 0:
            yield each["name"], ended["exitCode"]
