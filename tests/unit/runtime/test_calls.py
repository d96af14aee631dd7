"""Requests are what the Kubernetes API expects."""

from typing import Any

import pytest

from bertjob_api.cluster import BERT_JOB, CONFIG_MAP, NODE, POD, Kind, Ref
from bertjob_operator.runtime import calls
from bertjob_operator.runtime.calls import Selection

POD_X = Ref(POD, "default", "x")


@pytest.mark.parametrize(
    ("kind", "namespace", "path"),
    [
        (POD, None, "/api/v1/pods"),
        (POD, "a", "/api/v1/namespaces/a/pods"),
        (NODE, None, "/api/v1/nodes"),
        (NODE, "a", "/api/v1/nodes"),
        (BERT_JOB, "a", "/apis/bertjob.dev/v1alpha1/namespaces/a/bertjobs"),
    ],
)
def test_collection(kind: Kind, namespace: str | None, path: str) -> None:
    """Core kinds are below /api, others below /apis, and only namespaced ones below a namespace."""
    assert calls.collection(kind, namespace) == path


def test_selectors() -> None:
    """Labels become one selector of all of them, a name a field selector."""
    query = Selection(kind=POD, labels={"b": "2", "a": "1"}, name="x").query()

    assert query == {"labelSelector": "a=1,b=2", "fieldSelector": "metadata.name=x"}


def test_apply_is_forced_server_side_apply() -> None:
    """Apply is one PATCH of the whole object by a named manager; nothing is read before."""
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "default"}}

    call = calls.apply(obj, manager="me")

    assert (call.method, call.path) == ("PATCH", "/api/v1/namespaces/default/configmaps/x")
    assert call.content_type == "application/apply-patch+yaml"
    assert call.query == {"fieldManager": "me", "force": "true"}
    assert call.body == obj


def test_replace_tests_before_it_replaces() -> None:
    """The tests of uid, version and old value stand in the same patch as the replacement, before it."""
    call = calls.replace(POD_X, "/spec/a", old=None, new=2, uid="u", resource_version="7")

    assert [operation["op"] for operation in call.body] == ["test", "test", "test", "replace"]
    assert {operation["path"]: operation["value"] for operation in call.body[:3]} == {
        "/metadata/uid": "u",
        "/metadata/resourceVersion": "7",
        "/spec/a": None,
    }


def test_replace_without_version_tests_uid_and_value() -> None:
    """No version given means any version."""
    call = calls.replace(POD_X, "/spec/a", old=1, new=2, uid="u", resource_version=None)

    assert [operation["path"] for operation in call.body] == ["/metadata/uid", "/spec/a", "/spec/a"]


@pytest.mark.parametrize(("uid", "metadata"), [(None, {}), ("u", {"metadata": {"uid": "u"}})])
def test_patch_status(uid: str | None, metadata: dict[str, Any]) -> None:
    """A status patch goes to the subresource and carries nothing else but the uid to match."""
    call = calls.patch_status(POD_X, {"phase": "Failed"}, uid=uid)

    assert call.path == "/api/v1/namespaces/default/pods/x/status"
    assert call.content_type == "application/merge-patch+json"
    assert call.body == {**metadata, "status": {"phase": "Failed"}}


def test_delete_options() -> None:
    """Deletion takes along what the object owns; uid and grace are given only when asked for, and 0 is a grace."""
    plain = calls.delete(POD_X, uid=None, grace_seconds=None).body
    full = calls.delete(POD_X, uid="u", grace_seconds=0).body

    assert plain == {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
    assert full == {**plain, "preconditions": {"uid": "u"}, "gracePeriodSeconds": 0}


def test_namespace_must_fit_the_kind() -> None:
    """A namespaced object without a namespace is a mistake of the caller, not a request for another object."""
    with pytest.raises(AssertionError, match="ConfigMap x: namespace and scope"):
        calls.item(Ref(CONFIG_MAP, "", "x"))
