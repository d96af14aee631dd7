"""Promises of ``Cluster`` that only a real API server can break: messages of refusals, and the end of a missing kind."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bertjob_api.cluster import (
    CONFIG_MAP,
    INFERENCE_SERVICE,
    JOB,
    POD,
    ConflictError,
    InvalidError,
    NotFoundError,
    Object,
    Ref,
)
from bertjob_local.parts import LocalCluster
from bertjob_operator.runtime.http import HttpCluster, connect

pytestmark = pytest.mark.cluster

MakeNamespace = Callable[[LocalCluster], str]


def _config_map(namespace: str, name: str = "a", **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def _pod(namespace: str, **spec: Any) -> Object:
    containers = [{"name": "c", "image": "x"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": namespace},
        "spec": {"containers": containers, **spec},
    }


async def test_failed_tests_of_a_replace_are_conflicts(real_api: LocalCluster, make_namespace: MakeNamespace) -> None:
    """Another old value, a missing field, another uid and another version are conflicts; a wrong new value is not."""
    namespace = make_namespace(real_api)
    ref = Ref(CONFIG_MAP, namespace, "a")
    async with connect(real_api.layout.kubeconfig) as cluster:
        uid = (await cluster.apply(_config_map(namespace, x="1"), manager="m"))["metadata"]["uid"]

        for arguments in (
            {"path": "/data/x", "old": "0", "uid": uid},
            {"path": "/data/none", "old": "1", "uid": uid},
            {"path": "/none/x", "old": "1", "uid": uid},
            {"path": "/data/x", "old": "1", "uid": "other"},
            {"path": "/data/x", "old": "1", "uid": uid, "resource_version": "1"},
        ):
            with pytest.raises(ConflictError):
                await cluster.replace(ref, new="2", **arguments)
        with pytest.raises(InvalidError):
            await cluster.replace(ref, "/data/x", old="1", new=2, uid=uid)
        with pytest.raises(NotFoundError):
            await cluster.replace(Ref(CONFIG_MAP, namespace, "none"), "/data/x", old="1", new="2", uid=uid)
        [stored] = await cluster.list(CONFIG_MAP, namespace=namespace, name="a")
        assert stored["data"] == {"x": "1"}

        version = stored["metadata"]["resourceVersion"]
        after = await cluster.replace(ref, "/data/x", old="1", new="2", uid=uid, resource_version=version)
        assert after["data"] == {"x": "2"}


async def test_other_uids_are_conflicts(real_api: LocalCluster, make_namespace: MakeNamespace) -> None:
    """Every write that names the uid of another incarnation is a conflict, and none creates anything."""
    namespace = make_namespace(real_api)
    async with connect(real_api.layout.kubeconfig) as cluster:
        await cluster.apply(_pod(namespace), manager="m")
        other = _pod(namespace)
        other["metadata"]["uid"] = "other"
        absent = _config_map(namespace, "absent")
        absent["metadata"]["uid"] = "other"
        ref = Ref(POD, namespace, "p")

        for write in (
            cluster.apply(other, manager="m"),
            cluster.apply(absent, manager="m"),
            cluster.patch_status(ref, {"phase": "Failed"}, uid="other"),
            cluster.delete(ref, uid="other"),
        ):
            with pytest.raises(ConflictError):
                await write
        assert await cluster.list(CONFIG_MAP, namespace=namespace, name="absent") == []


async def test_what_no_retry_can_cure_is_invalid(real_api: LocalCluster, make_namespace: MakeNamespace) -> None:
    """Unknown fields, wrong types, refused values and immutable fields are Invalid, never Unavailable."""
    namespace = make_namespace(real_api)
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j", "namespace": namespace},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}},
    }
    other = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "y"}]}}
    async with connect(real_api.layout.kubeconfig) as cluster:
        await cluster.apply(job, manager="m")
        for obj in (
            _pod(namespace, unknown=1),
            _pod(namespace, hostNetwork="yes"),
            _pod(namespace, containers=[{"name": "Not_A_Label", "image": "x"}]),
            {**job, "spec": {"template": other}},
        ):
            with pytest.raises(InvalidError):
                await cluster.apply(obj, manager="m")
        assert [each["metadata"]["name"] for each in await cluster.list(JOB, namespace=namespace)] == ["j"]


async def test_lists_of_many_pages(real_api: LocalCluster, make_namespace: MakeNamespace) -> None:
    """More objects than one page holds come complete, once each."""
    namespace = make_namespace(real_api)
    async with connect(real_api.layout.kubeconfig) as cluster:
        names = [f"n{number:03}" for number in range(520)]
        for start in range(0, len(names), 40):
            some = (cluster.apply(_config_map(namespace, name), manager="m") for name in names[start : start + 40])
            await asyncio.gather(*some)

        found = await cluster.list(CONFIG_MAP, namespace=namespace)

    assert [obj["metadata"]["name"] for obj in found if obj["metadata"]["name"] in names] == names
    assert all("managedFields" not in obj["metadata"] for obj in found)


async def test_kind_that_is_not_served(real_api: LocalCluster, make_namespace: MakeNamespace) -> None:
    """A kind that the server does not know is an empty list, a synced watch and, for a write, not found."""
    namespace = make_namespace(real_api)
    service = {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.kind,
        "metadata": {"name": "x", "namespace": namespace},
    }
    async with connect(real_api.layout.kubeconfig) as cluster:
        assert await cluster.list(INFERENCE_SERVICE) == []
        assert await _first_change(cluster) == "Synced"
        with pytest.raises(NotFoundError):
            await cluster.apply(service, manager="m")


async def _first_change(cluster: HttpCluster) -> str:
    changes = cluster.changes(INFERENCE_SERVICE)
    try:
        return (await anext(changes)).type
    finally:
        await changes.aclose()
