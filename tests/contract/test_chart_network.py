"""The chart's NetworkPolicies let through what has to talk, and nothing else. Evaluated here as the API describes them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
from support.helm import Manifest, rendered

from bertjob_api import names
from bertjob_local import binaries
from bertjob_local.parts import LocalCluster
from bertjob_operator.plan import metadata

pytestmark = pytest.mark.skipif(
    binaries.locate("helm") is None, reason="helm is not built; `python -m bertjob_local.binaries` builds it"
)

FENCED = ("networkPolicy.create=true", "networkPolicy.namespaces={team}", "networkPolicy.storagePorts={443,9000}")


@dataclass(frozen=True)
class Peer:
    """A pod, or with no labels something outside of the cluster."""

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def _of_a_job(component: str, namespace: str = "team") -> Peer:
    return Peer(namespace, {names.PART_OF_LABEL: metadata.PART_OF, names.COMPONENT_LABEL: component})


OPERATOR = Peer(
    "bertjob-system", {"app.kubernetes.io/name": "bertjob-operator", "app.kubernetes.io/instance": "bertjob"}
)
WORKER, STORE = _of_a_job(names.TRAIN), _of_a_job(names.STORE)
PREDICTOR = Peer("team", {names.PART_OF_LABEL: metadata.PART_OF, "serving.kserve.io/inferenceservice": "docs"})
STRANGER = Peer("team", {"app": "web"})
OUTSIDE = Peer()
NAMED = {"http": 8080}


def _selects(selector: Manifest, labels: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items() <= dict(labels).items()
    return wanted and all(item["key"] in labels for item in selector.get("matchExpressions", ()))


def _is_peer(rule: Manifest, peer: Peer, home: str) -> bool:
    pods = bool(peer.labels) and _selects(rule.get("podSelector", {}), peer.labels)
    if "namespaceSelector" not in rule:
        return pods and peer.namespace == home
    return pods and _selects(rule["namespaceSelector"], {"kubernetes.io/metadata.name": peer.namespace})


def _passes(policies: list[Manifest], side: str, here: Peer, there: Peer, port: int) -> bool:
    """Tell whether the policies of *here* let it speak with *there* on one side, Ingress or Egress."""
    mine = [
        each["spec"]
        for each in policies
        if each["metadata"]["namespace"] == here.namespace
        and here.labels
        and _selects(each["spec"]["podSelector"], here.labels)
        and side in each["spec"]["policyTypes"]
    ]
    end = {"Ingress": "from", "Egress": "to"}[side]
    return not mine or any(
        (end not in rule or any(_is_peer(peer, there, here.namespace) for peer in rule[end]))
        and ("ports" not in rule or port in [NAMED.get(item["port"], item["port"]) for item in rule["ports"]])
        for spec in mine
        for rule in spec.get(side.lower(), ())
    )


def _may(policies: list[Manifest], source: Peer, target: Peer, port: int) -> bool:
    outwards = _passes(policies, "Egress", source, target, port)
    return outwards and _passes(policies, "Ingress", target, source, port)


@pytest.mark.parametrize(
    ("source", "target", "port", "allowed"),
    [
        (WORKER, WORKER, 45_123, True),  # torch chooses its ports
        (WORKER, STORE, names.STORE_PORT, True),
        (STRANGER, STORE, names.STORE_PORT, False),
        (STRANGER, WORKER, names.PROGRESS_PORT, False),
        (_of_a_job(names.TRAIN, "other"), STORE, names.STORE_PORT, False),
        (PREDICTOR, STORE, names.STORE_PORT, False),
        (WORKER, OUTSIDE, 443, True),
        (WORKER, OUTSIDE, 9000, True),
        (WORKER, OUTSIDE, 53, True),
        (WORKER, OUTSIDE, 5432, False),
        (OPERATOR, WORKER, names.PROGRESS_PORT, True),
        (OPERATOR, WORKER, 45_123, False),
        (OPERATOR, PREDICTOR, names.PREDICTOR_PORT, True),
        (OPERATOR, OUTSIDE, 6443, True),
        (OPERATOR, OUTSIDE, 9000, False),
        (STRANGER, OPERATOR, 8080, True),  # Prometheus and the node's probes
        (STRANGER, OPERATOR, 9999, False),
        (STRANGER, PREDICTOR, names.PREDICTOR_PORT, True),
        (OUTSIDE, PREDICTOR, names.PREDICTOR_PORT, True),
        (OUTSIDE, PREDICTOR, 8081, False),
        (PREDICTOR, OUTSIDE, 443, True),
        (PREDICTOR, OUTSIDE, 5432, False),
        (STRANGER, OUTSIDE, 5432, True),  # pods that are not ours are not fenced
    ],
)
def test_who_may_talk_to_whom(policies: list[Manifest], source: Peer, target: Peer, port: int, allowed: bool) -> None:
    """What a job, its progress, its storage and its predictors need passes; everything else does not."""
    assert _may(policies, source, target, port) is allowed


@pytest.fixture(scope="module")
def policies() -> list[Manifest]:
    """Return the NetworkPolicies with one fenced namespace."""
    return [each for each in rendered(*FENCED) if each["kind"] == "NetworkPolicy"]


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ((), []),
        (("networkPolicy.create=true",), ["bertjob-system"]),
        (("networkPolicy.create=true", "watchNamespace=one"), ["bertjob-system", "one", "one"]),
        (("networkPolicy.create=true", "networkPolicy.namespaces={a,b}"), ["a", "a", "b", "b", "bertjob-system"]),
    ],
)
def test_where_policies_are_made(values: tuple[str, ...], places: list[str]) -> None:
    """By default there are none; the operator's own come first, those of jobs where they are asked for."""
    found = [each["metadata"]["namespace"] for each in rendered(*values) if each["kind"] == "NetworkPolicy"]

    assert sorted(found) == places


@pytest.mark.cluster
def test_api_server_takes_the_policies(real_api: LocalCluster, make_namespace: Callable[[LocalCluster], str]) -> None:
    """A server-side dry run of every policy succeeds."""
    place = make_namespace(real_api)
    values = (*FENCED[:1], f"networkPolicy.namespaces={{{place}}}")
    found = [each for each in rendered(*values) if each["kind"] == "NetworkPolicy"]
    for each in found:
        each["metadata"]["namespace"] = place
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": found})

    said = real_api.kubectl("apply", "--dry-run=server", "--validate=strict", "--filename=-", stdin=listed)

    assert said.count("created (server dry run)") == len(found) == 3
