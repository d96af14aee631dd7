"""Promises of ``apply``, ``replace``, ``patch_status`` and ``list``, for every implementation of ``Cluster``."""

from typing import Any

import pytest
from support.jobs import a_job

from bertjob_api.cluster import (
    BERT_JOB,
    CONFIG_MAP,
    INFERENCE_SERVICE,
    NODE,
    POD,
    SERVICE,
    ConflictError,
    InvalidError,
    NotFoundError,
    Object,
    Ref,
)


def config_map(ground, name="a", labels=None, **data: str) -> Object:
    metadata: Object = {"name": name, "namespace": ground.namespace}
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def bert_job(ground, **spec: Any) -> Object:
    job = a_job(**spec)
    job["metadata"]["namespace"] = ground.namespace
    return job


def pod(ground, name="p", **spec: Any) -> Object:
    metadata = {"name": name, "namespace": ground.namespace}
    body = {"containers": [{"name": "main", "image": "x"}], "terminationGracePeriodSeconds": 5, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}


async def test_apply_creates_with_identity(ground):
    """A new object gets a uid, a version and a creation time, and comes back as it is stored."""
    made = await ground.cluster.apply(config_map(ground, x="1"), manager="m")

    assert made["data"] == {"x": "1"}
    assert {"uid", "resourceVersion", "creationTimestamp"} <= set(made["metadata"])
    assert "managedFields" not in made["metadata"]
    found = await ground.get(CONFIG_MAP, "a")
    assert found == made


async def test_same_apply_changes_nothing(ground):
    """Applying the same again moves no version."""
    first = await ground.cluster.apply(config_map(ground, x="1"), manager="m")
    second = await ground.cluster.apply(config_map(ground, x="1"), manager="m")

    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_dropped_field_is_removed(ground):
    """A field that its manager leaves out the next time is gone; another manager's field stays."""
    await ground.cluster.apply(config_map(ground, x="1", y="1"), manager="m")
    await ground.cluster.apply(config_map(ground, z="1"), manager="other")

    after = await ground.cluster.apply(config_map(ground, x="2"), manager="m")

    assert after["data"] == {"x": "2", "z": "1"}


async def test_shared_field_stays_while_somebody_applies_it(ground):
    """A field that two managers apply goes with the second."""
    await ground.cluster.apply(config_map(ground, x="1", y="1"), manager="m")
    await ground.cluster.apply(config_map(ground, x="1"), manager="other")

    after = await ground.cluster.apply(config_map(ground, y="1"), manager="m")
    assert after["data"] == {"x": "1", "y": "1"}
    after = await ground.cluster.apply(config_map(ground), manager="other")
    assert after["data"] == {"y": "1"}


async def test_apply_takes_over(ground):
    """An apply is forced: it overrides what another manager applied."""
    await ground.cluster.apply(config_map(ground, x="1"), manager="m")

    after = await ground.cluster.apply(config_map(ground, x="2"), manager="other")

    assert after["data"] == {"x": "2"}


async def test_apply_with_uid_never_creates(ground):
    """A uid in the metadata must be that of an existing object."""
    obj = config_map(ground, x="1")
    obj["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    with pytest.raises(ConflictError):
        await ground.cluster.apply(obj, manager="m")
    assert await ground.get(CONFIG_MAP, "a") is None

    made = await ground.cluster.apply(config_map(ground, x="1"), manager="m")
    with pytest.raises(ConflictError):
        await ground.cluster.apply(obj, manager="m")
    obj["metadata"]["uid"] = made["metadata"]["uid"]
    await ground.cluster.apply(obj, manager="m")


async def test_apply_with_stale_version_conflicts(ground):
    """A resourceVersion in the metadata must be the newest."""
    first = await ground.cluster.apply(config_map(ground, x="1"), manager="m")
    await ground.cluster.apply(config_map(ground, x="2"), manager="m")
    obj = config_map(ground, x="3")
    obj["metadata"]["resourceVersion"] = first["metadata"]["resourceVersion"]

    with pytest.raises(ConflictError):
        await ground.cluster.apply(obj, manager="m")


async def test_generation_counts_specs(ground):
    """The generation moves with the spec alone: not with labels, annotations or status."""
    job = bert_job(ground)
    first = await ground.cluster.apply(job, manager="m")
    job["metadata"]["labels"] = {"a": "b"}
    second = await ground.cluster.apply(job, manager="m")
    third = await ground.cluster.patch_status(ground.ref(BERT_JOB, "sentiment"), {"phase": "Training"})
    job["spec"]["suspend"] = True
    fourth = await ground.cluster.apply(job, manager="m")

    generations = [obj["metadata"]["generation"] for obj in (first, second, third, fourth)]
    assert generations == [1, 1, 1, 2]
    assert len({obj["metadata"]["resourceVersion"] for obj in (first, second, third, fourth)}) == 4


async def test_status_is_apart(ground):
    """An apply does not touch status, and a status patch does not touch the rest."""
    job = bert_job(ground)
    await ground.cluster.apply({**job, "status": {"phase": "Wrong"}}, manager="m")
    await ground.cluster.patch_status(ground.ref(BERT_JOB, "sentiment"), {"phase": "Training", "attempt": 1})
    await ground.cluster.apply({**job, "status": {"phase": "Wrong"}}, manager="m")

    found = await ground.get(BERT_JOB, "sentiment")
    assert (found["status"]["phase"], found["status"]["attempt"]) == ("Training", 1)
    assert found["spec"]["model"]["source"] == job["spec"]["model"]["source"]


async def test_status_is_merged(ground):
    """A status patch merges objects, replaces lists and removes what is null."""
    await ground.cluster.apply(bert_job(ground), manager="m")
    ref = ground.ref(BERT_JOB, "sentiment")
    first = {"type": "Accepted", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "R"}
    first |= {"message": "", "observedGeneration": 1}
    second = {**first, "type": "Trained"}
    await ground.cluster.patch_status(
        ref, {"conditions": [first], "training": {"step": 1, "total": 9}, "phase": "Training"}
    )

    after = await ground.cluster.patch_status(ref, {"conditions": [second], "training": {"step": 2}, "phase": None})

    assert [each["type"] for each in after["status"]["conditions"]] == ["Trained"]
    assert after["status"]["training"]["step"] == 2
    assert after["status"]["training"]["total"] == 9
    assert "phase" not in after["status"]


async def test_status_of_another_incarnation_is_refused(ground):
    """A status patch for another uid conflicts, and one for an absent object finds nothing."""
    ref = ground.ref(BERT_JOB, "sentiment")
    with pytest.raises(NotFoundError):
        await ground.cluster.patch_status(ref, {"phase": "Training"})
    await ground.cluster.apply(bert_job(ground), manager="m")

    with pytest.raises(ConflictError):
        await ground.cluster.patch_status(ref, {"phase": "T"}, uid="00000000-0000-0000-0000-000000000000")


async def test_replace_changes_one_tested_field(ground):
    """A field is replaced only if it, the uid and the version are as given; missing objects and fields are errors."""
    ref = ground.ref(CONFIG_MAP, "a")
    with pytest.raises(NotFoundError):
        await ground.cluster.replace(ref, "/data/x", old="1", new="2", uid="00000000-0000-0000-0000-000000000000")
    made = await ground.cluster.apply(config_map(ground, x="1", **{"a.b": "1"}), manager="m")
    uid, version = made["metadata"]["uid"], made["metadata"]["resourceVersion"]

    with pytest.raises(ConflictError):
        await ground.cluster.replace(ref, "/data/x", old="0", new="2", uid=uid)
    with pytest.raises(ConflictError):
        await ground.cluster.replace(ref, "/data/none", old="1", new="2", uid=uid)
    with pytest.raises(ConflictError):
        await ground.cluster.replace(ref, "/data/x", old="1", new="2", uid="00000000-0000-0000-0000-000000000000")
    after = await ground.cluster.replace(ref, "/data/x", old="1", new="2", uid=uid, resource_version=version)
    assert after["data"] == {"x": "2", "a.b": "1"}
    with pytest.raises(ConflictError):
        await ground.cluster.replace(ref, "/data/x", old="2", new="3", uid=uid, resource_version=version)


async def test_replaced_field_has_no_manager(ground):
    """After a replace the former manager may leave the field out without removing it."""
    made = await ground.cluster.apply(config_map(ground, x="1", y="1"), manager="m")
    await ground.cluster.replace(ground.ref(CONFIG_MAP, "a"), "/data/x", old="1", new="2", uid=made["metadata"]["uid"])

    after = await ground.cluster.apply(config_map(ground, y="1"), manager="m")

    assert after["data"] == {"x": "2", "y": "1"}


async def test_list_selects(ground):
    """A list can be narrowed by namespace, labels and name."""
    await ground.cluster.apply(config_map(ground, "one", labels={"a": "1", "b": "1"}), manager="m")
    await ground.cluster.apply(config_map(ground, "two", labels={"a": "1", "b": "2"}), manager="m")

    async def listed(**selection):
        found = await ground.cluster.list(CONFIG_MAP, namespace=ground.namespace, **selection)
        return sorted(obj["metadata"]["name"] for obj in found if obj["metadata"]["name"] in ("one", "two"))

    assert await listed() == ["one", "two"]
    assert await listed(labels={"a": "1"}) == ["one", "two"]
    assert await listed(labels={"a": "1", "b": "2"}) == ["two"]
    assert await listed(name="one") == ["one"]
    assert await listed(name="three") == []
    everywhere = await ground.cluster.list(CONFIG_MAP, labels={"b": "2"})
    assert [obj["kind"] for obj in everywhere] == ["ConfigMap"]


async def test_kind_that_is_not_served_lists_nothing(ground):
    """A kind the cluster does not know is an empty list, not an error."""
    unknown = INFERENCE_SERVICE._replace(group="unknown.example.com")

    assert await ground.cluster.list(unknown) == []


async def test_service_gets_an_address(ground):
    """A Service gets a cluster IP in 127.100.0.0/16 and keeps it."""
    spec = {"selector": {"app": "a"}, "ports": [{"port": 80, "targetPort": 8080}]}
    metadata = {"name": "web", "namespace": ground.namespace}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
    first = await ground.cluster.apply(service, manager="m")
    spec["ports"] = [{"port": 81, "targetPort": 8080}]
    second = await ground.cluster.apply(service, manager="m")

    assert first["spec"]["clusterIP"].startswith("127.100.")
    assert second["spec"]["clusterIP"] == first["spec"]["clusterIP"]
    assert [port["port"] for port in second["spec"]["ports"]] == [81]
    assert await ground.get(SERVICE, "web") == second


async def test_bad_bert_job_is_refused(ground):
    """A spec that breaks the schema or a rule is Invalid, and nothing is stored."""
    for wrong in ({"training": {"batchSize": 0}}, {"training": {"replicas": 9, "elastic": {"min": 1, "max": 2}}}):
        with pytest.raises(InvalidError):
            await ground.cluster.apply(bert_job(ground, **wrong), manager="m")
    assert await ground.get(BERT_JOB, "sentiment") is None


async def test_immutable_fields_are_refused(ground):
    """What trains a model cannot change under a job; nodes, suspension and deadlines can."""
    await ground.cluster.apply(bert_job(ground, serving={"inferenceService": "mood"}), manager="m")
    for change in (
        {"training": {"epochs": 9}},
        {"model": {"source": "preset://bert-base"}},
        {"storage": {"prefix": "s3://other/place"}},
        {"serving": {"inferenceService": "other"}},
    ):
        with pytest.raises(InvalidError):
            await ground.cluster.apply(
                bert_job(ground, **{"serving": {"inferenceService": "mood"}, **change}), manager="m"
            )

    allowed = {"suspend": True, "training": {"replicas": 2, "elastic": {"min": 1, "max": 3}}}
    after = await ground.cluster.apply(bert_job(ground, serving={"inferenceService": "mood"}, **allowed), manager="m")

    assert after["spec"]["training"]["replicas"] == 2


async def test_bad_status_is_refused(ground):
    """Status is validated too."""
    await ground.cluster.apply(bert_job(ground), manager="m")

    with pytest.raises(InvalidError):
        await ground.cluster.patch_status(ground.ref(BERT_JOB, "sentiment"), {"attempt": -1})


async def test_cluster_wide_kinds_have_no_namespace(ground):
    """A Node is found by its name alone."""
    name = f"{ground.namespace}-node"
    await ground.cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}, manager="m")

    found = await ground.cluster.list(NODE, name=name)
    await ground.cluster.delete(Ref(NODE, "", name))

    assert ["namespace" in obj["metadata"] for obj in found] == [False]
    assert await ground.cluster.list(NODE, name=name) == []


async def test_status_of_a_pod_can_be_written_by_anyone(ground):
    """A pod's phase is patched as the operator does for a dead node."""
    made = await ground.cluster.apply(pod(ground), manager="m")

    after = await ground.cluster.patch_status(ground.ref(POD, "p"), {"phase": "Failed"}, uid=made["metadata"]["uid"])

    assert after["status"]["phase"] == "Failed"
