"""Promises of ``delete`` and ``changes``, for every implementation of ``Cluster``."""

import asyncio

import pytest
from support.jobs import a_job

from bertjob_api.cluster import BERT_JOB, CONFIG_MAP, NODE, POD, ConflictError, Object, Ref


def config_map(ground, name="a", labels=None, **data: str) -> Object:
    metadata: Object = {"name": name, "namespace": ground.namespace}
    if labels is not None:
        metadata["labels"] = labels
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def pod(ground, **spec) -> Object:
    metadata = {"name": "p", "namespace": ground.namespace}
    body = {"containers": [{"name": "main", "image": "x"}], "terminationGracePeriodSeconds": 5, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}


def ours(seen):
    """Return type and name of the changes, without what controllers put into every namespace."""
    return [
        (change.type, change.object.get("metadata", {}).get("name"))
        for change in seen
        if change.object.get("metadata", {}).get("name") != "kube-root-ca.crt"
    ]


async def test_delete_is_idempotent(ground):
    """What is gone already is no error."""
    await ground.cluster.apply(config_map(ground), manager="m")

    await ground.cluster.delete(ground.ref(CONFIG_MAP, "a"))
    await ground.cluster.delete(ground.ref(CONFIG_MAP, "a"))

    assert await ground.get(CONFIG_MAP, "a") is None


async def test_delete_spares_another_incarnation(ground):
    """With a uid only that incarnation is deleted."""
    first = await ground.cluster.apply(config_map(ground), manager="m")
    await ground.cluster.delete(ground.ref(CONFIG_MAP, "a"), uid=first["metadata"]["uid"])
    second = await ground.cluster.apply(config_map(ground), manager="m")

    with pytest.raises(ConflictError):
        await ground.cluster.delete(ground.ref(CONFIG_MAP, "a"), uid=first["metadata"]["uid"])

    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert await ground.get(CONFIG_MAP, "a") == second


async def test_what_is_made_again_is_new(ground):
    """After a deletion nothing of the first incarnation's fields or managers is left."""
    await ground.cluster.apply(config_map(ground, x="1"), manager="m")
    await ground.cluster.delete(ground.ref(CONFIG_MAP, "a"))
    await ground.cluster.apply(config_map(ground, y="1"), manager="other")

    after = await ground.cluster.apply(config_map(ground, z="1"), manager="m")

    assert after["data"] == {"y": "1", "z": "1"}


async def test_children_go_with_their_owner(ground):
    """Deleting an owner deletes what it owns, in the background, and nothing else."""
    job = a_job()
    job["metadata"]["namespace"] = ground.namespace
    owner = await ground.cluster.apply(job, manager="m")
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    child = config_map(ground, "child")
    child["metadata"]["ownerReferences"] = [reference]
    await ground.cluster.apply(child, manager="m")
    await ground.cluster.apply(config_map(ground, "stranger"), manager="m")

    await ground.cluster.delete(ground.ref(BERT_JOB, "sentiment"), uid=owner["metadata"]["uid"])

    async def child_is_gone():
        return await ground.get(CONFIG_MAP, "child") is None

    await ground.until(child_is_gone)
    assert await ground.get(CONFIG_MAP, "stranger") is not None


async def test_waiting_pod_vanishes_at_once(ground):
    """A pod that no node has yet is gone when its deletion returns."""
    await ground.cluster.apply(pod(ground, nodeSelector={"no": "such-node"}), manager="m")

    await ground.cluster.delete(ground.ref(POD, "p"))

    assert await ground.get(POD, "p") is None


async def test_bound_pod_waits_for_its_kubelet(ground):
    """A pod on a node stays, with deletion time and grace, until it is deleted with grace 0; a longer grace changes nothing."""
    node = f"{ground.namespace}-node"
    await ground.cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}, manager="m")
    made = await ground.cluster.apply(pod(ground, nodeName=node), manager="m")
    ref = ground.ref(POD, "p")

    await ground.cluster.delete(ref)
    found = await ground.get(POD, "p")
    assert found["metadata"]["deletionGracePeriodSeconds"] == 5
    assert "deletionTimestamp" in found["metadata"]
    await ground.cluster.delete(ref, grace_seconds=60)
    assert (await ground.get(POD, "p"))["metadata"]["deletionGracePeriodSeconds"] == 5
    await ground.cluster.delete(ref, grace_seconds=2)
    assert (await ground.get(POD, "p"))["metadata"]["deletionGracePeriodSeconds"] == 2

    await ground.cluster.delete(ref, uid=made["metadata"]["uid"], grace_seconds=0)
    assert await ground.get(POD, "p") is None
    await ground.cluster.delete(Ref(NODE, "", node))


async def test_ended_pod_vanishes_at_once(ground):
    """A pod whose phase is final needs no kubelet to go."""
    node = f"{ground.namespace}-node"
    await ground.cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}}, manager="m")
    await ground.cluster.apply(pod(ground, nodeName=node), manager="m")
    await ground.cluster.patch_status(ground.ref(POD, "p"), {"phase": "Succeeded"})

    await ground.cluster.delete(ground.ref(POD, "p"))

    assert await ground.get(POD, "p") is None
    await ground.cluster.delete(Ref(NODE, "", node))


async def test_finalizer_holds_an_object(ground):
    """A deleted object with a finalizer stays until the finalizer is gone."""
    held = config_map(ground)
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await ground.cluster.apply(held, manager="m")

    await ground.cluster.delete(ground.ref(CONFIG_MAP, "a"))
    assert "deletionTimestamp" in (await ground.get(CONFIG_MAP, "a"))["metadata"]
    await ground.cluster.apply(config_map(ground), manager="m")

    assert await ground.get(CONFIG_MAP, "a") is None


async def test_changes_begin_with_what_exists(ground):
    """Existing objects are Added, then comes Synced once, then what happens, in order."""
    await ground.cluster.apply(config_map(ground, "one"), manager="m")
    await ground.cluster.apply(config_map(ground, "two"), manager="m")
    synced = asyncio.Event()

    def until(seen):
        if seen[-1].type == "Synced":
            synced.set()
        return seen[-1].type == "Deleted"

    following = asyncio.create_task(ground.collect(CONFIG_MAP, until=until))
    await synced.wait()
    await ground.cluster.apply(config_map(ground, "three", x="1"), manager="m")
    await ground.cluster.apply(config_map(ground, "three", x="2"), manager="m")
    await ground.cluster.delete(ground.ref(CONFIG_MAP, "three"))
    seen = ours(await following)

    assert sorted(seen[:2]) == [("Added", "one"), ("Added", "two")]
    assert seen[2:] == [("Synced", None), ("Added", "three"), ("Modified", "three"), ("Deleted", "three")]


async def test_no_change_is_lost(ground):
    """Every one of many writes is seen, in order, by everybody who follows."""
    ready = [asyncio.Event(), asyncio.Event()]

    def until_last(number):
        def until(seen):
            if seen[-1].type == "Synced":
                ready[number].set()
            return seen[-1].type != "Synced" and seen[-1].object.get("data", {}).get("x") == "39"

        return until

    labels = {"counted": "yes"}
    following = [
        asyncio.create_task(ground.collect(CONFIG_MAP, until=until_last(n), labels=labels)) for n in range(len(ready))
    ]
    for each in ready:
        await each.wait()
    for number in range(40):
        await ground.cluster.apply(config_map(ground, labels=labels, x=str(number)), manager="m")

    for seen in await asyncio.gather(*following):
        values = [change.object["data"]["x"] for change in seen if change.type != "Synced"]
        assert values == [str(number) for number in range(40)]
        versions = [int(change.object["metadata"]["resourceVersion"]) for change in seen if change.type != "Synced"]
        assert versions == sorted(versions)


async def test_keeping_less(ground):
    """What ``keep`` leaves out comes with no change, whether the object was there before, is changed or deleted."""

    def keep(obj):
        metadata = {key: obj["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
        return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata, "data": {}}

    ref = ground.ref(CONFIG_MAP, "a")
    await ground.cluster.apply(config_map(ground, x="before"), manager="m")
    synced = asyncio.Event()

    def until(seen):
        if seen[-1].type == "Synced":
            synced.set()
        return seen[-1].type == "Deleted"

    following = asyncio.create_task(ground.collect(CONFIG_MAP, until=until, keep=keep))
    await synced.wait()
    await ground.cluster.apply(config_map(ground, x="after"), manager="m")
    await ground.cluster.delete(ref)

    seen = [change for change in await following if change.object.get("metadata", {}).get("name") == "a"]
    assert [change.type for change in seen] == ["Added", "Modified", "Deleted"]
    assert all(change.object == keep(change.object) for change in seen)


async def test_leaving_the_selection_is_a_deletion(ground):
    """With labels, an object is Added when it gets them and Deleted when it loses them."""
    synced = asyncio.Event()

    def until(seen):
        if seen[-1].type == "Synced":
            synced.set()
        return seen[-1].type == "Deleted"

    following = asyncio.create_task(ground.collect(CONFIG_MAP, until=until, labels={"team": "a"}))
    await synced.wait()
    await ground.cluster.apply(config_map(ground, labels={"team": "b"}), manager="m")
    await ground.cluster.apply(config_map(ground, labels={"team": "a"}), manager="m")
    await ground.cluster.apply(config_map(ground, labels={"team": "b"}), manager="m")

    assert ours(await following) == [("Synced", None), ("Added", "a"), ("Deleted", "a")]


async def test_objects_are_handed_out_without_managed_fields(ground):
    """What comes from a watch equals what a list gives."""
    made = await ground.cluster.apply(config_map(ground, x="1"), manager="m")

    seen = await ground.collect(CONFIG_MAP, until=lambda seen: seen[-1].type == "Synced")

    found = [change.object for change in seen if change.object.get("metadata", {}).get("name") == "a"]
    assert found == [made]
