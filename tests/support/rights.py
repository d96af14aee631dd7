"""Rights that a ServiceAccount has, and those that its requests needed. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_REQUEST = re.compile(r"^(?P<method>[A-Z]+) (?P<path>/api\S+) answered (?P<code>\d+): (?P<what>.*)")
_PATH = re.compile(
    r"^/(?:api/[^/]+|apis/(?P<group>[^/]+)/[^/]+)(?:/namespaces/[^/]+)?/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?$"
)
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Right(NamedTuple):
    """One verb on one resource."""

    group: str
    resource: str
    verb: str


def granted(rules: Iterable[Mapping[str, Any]]) -> set[Right]:
    """Return what rbac/v1 PolicyRules allow."""
    return {
        Right(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def needed(messages: Iterable[str]) -> set[Right]:
    """Return what the requests in an operator's log at DEBUG needed."""
    return {right for message in messages for right in _of(message)}


def _of(message: str) -> Iterable[Right]:
    """Yield the rights for one request; a server-side apply that made the object needed to create as well."""
    request = _REQUEST.match(message)
    place = _PATH.match(request["path"]) if request is not None else None
    if request is None or place is None:
        return
    resource = "/".join(filter(None, (place["plural"], place["sub"])))
    verb = _VERBS.get(request["method"]) or ("get" if place["name"] else request["what"].split()[0])
    yield Right(place["group"] or "", resource, verb)
    if (request["method"], request["code"]) == ("PATCH", "201"):
        yield Right(place["group"] or "", resource, "create")
