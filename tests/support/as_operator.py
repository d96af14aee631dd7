"""The operator under the role of the chart, and what its requests needed."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from support import rights
from support.helm import only, rendered
from support.rights import Right
from support.waiting import eventually

from bertjob_local.parts import LocalCluster

SYSTEM = "bertjob-system"
ACCOUNT = "bertjob-operator"
_KINDS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")


def kubeconfig(cluster: LocalCluster, folder: Path) -> Path:
    """Install the chart's roles and return a kubeconfig of its ServiceAccount."""
    objects: list[dict[str, Any]] = [each for each in rendered() if each["kind"] in _KINDS]
    place = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}
    listed = {"apiVersion": "v1", "kind": "List", "items": [place, *objects]}
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=json.dumps(listed))
    return _kubeconfig_of(cluster, ACCOUNT, folder)


def lesser(cluster: LocalCluster, folder: Path, *, lacking: str) -> Path:
    """Return a kubeconfig of an account that may do what the operator does, but nothing with the resource *lacking*."""
    account, place = f"{ACCOUNT}-lesser", f"--namespace={SYSTEM}"
    role = only(rendered(), "ClusterRole", ACCOUNT)
    rules = [rule for rule in role["rules"] if rule["resources"] != [lacking]]
    assert len(rules) == len(role["rules"]) - 1, f"no rule for {lacking} alone"
    body = {**role, "metadata": {"name": account}, "rules": rules}
    cluster.kubectl("create", "serviceaccount", account, place)
    cluster.kubectl("create", "--filename=-", stdin=json.dumps(body))
    cluster.kubectl(
        "create", "clusterrolebinding", account, f"--clusterrole={account}", f"--serviceaccount={SYSTEM}:{account}"
    )
    return _kubeconfig_of(cluster, account, folder)


def _kubeconfig_of(cluster: LocalCluster, account: str, folder: Path) -> Path:
    """Return a kubeconfig of a ServiceAccount, once the API server knows its rights."""
    asked = {"resource": "configmaps", "verb": "patch"}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": f"system:serviceaccount:{SYSTEM}:{account}", "resourceAttributes": asked},
    }

    def knows_its_rights() -> bool:
        answer = cluster.kubectl("create", "--filename=-", "--output=json", stdin=json.dumps(review))
        return bool(json.loads(answer)["status"]["allowed"])

    eventually(knows_its_rights)
    token = cluster.kubectl("create", "token", account, f"--namespace={SYSTEM}").strip()
    config = yaml.safe_load(cluster.layout.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path = folder / f"{account}.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def allowed() -> set[Right]:
    """Return what the chart's roles grant."""
    manifests = rendered()
    roles = [
        only(manifests, "ClusterRole", ACCOUNT),
        only(manifests, "ClusterRole", f"{ACCOUNT}-nodes"),
        only(manifests, "Role", f"{ACCOUNT}-leader"),
    ]
    return rights.granted(rule for role in roles for rule in role["rules"])


class Requests(logging.Handler):
    """Collects what was logged of requests."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.messages.append(record.getMessage())

    @property
    def used(self) -> set[Right]:
        """Return the rights that the requests needed."""
        return rights.needed(self.messages)

    @property
    def refused(self) -> list[str]:
        """Return the requests for which a right was missing."""
        return [line for line in self.messages if "answered 401" in line or "answered 403" in line]


@contextmanager
def requests() -> Iterator[Requests]:
    """Give the requests of this process that the HTTP cluster logs within the block."""
    logger, handler = logging.getLogger("bertjob_operator.runtime.connection"), Requests()
    before = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
