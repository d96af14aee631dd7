"""The operator under its own role in the rarer moments of a job; what a whole job needs is seen in ``tests/e2e``."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from support import as_operator
from support.fake_kubelet import End, FakeKubelet, add_node
from support.jobs import a_job
from support.operating import SETTINGS, gone, together, until
from support.rights import Right

from bertjob_api import names
from bertjob_api.cluster import BERT_JOB, CONFIG_MAP, LEASE, NODE, ForbiddenError, Ref
from bertjob_api.job import parse_job
from bertjob_local.parts import LocalCluster
from bertjob_operator.plan import Platform, metadata
from bertjob_operator.runtime.http import connect
from bertjob_operator.runtime.lease import Elector
from bertjob_operator.shell.operator import run

pytestmark = pytest.mark.cluster


async def test_rare_moments(real_controllers: LocalCluster, namespace: str, tmp_path: Path) -> None:
    """A node is lost, Jobs and then the job itself are cleaned up, and the first leader is elected: each right is needed."""
    job = a_job(cleanPodPolicy="All", ttlSecondsAfterFinished=3)
    job["metadata"]["namespace"] = namespace
    settings = replace(SETTINGS, namespace=namespace, platform=Platform(node_grace=timedelta(seconds=1)))
    own = as_operator.kubeconfig(real_controllers, tmp_path)
    async with connect(real_controllers.layout.kubeconfig) as admin, connect(own) as cluster:
        kubelet = FakeKubelet(admin, script={names.TRAIN: [End(holds=True)]}, binds_to="node-r", namespace=namespace)
        await admin.delete(Ref(LEASE, as_operator.SYSTEM, "bertjob-operator"))
        await add_node(admin, "node-r")
        elector = Elector(cluster, namespace=as_operator.SYSTEM, name="bertjob-operator", identity="me")
        with as_operator.requests() as seen:
            async with together(kubelet.run(), elector.run(lambda: run(cluster, settings))):
                await admin.apply(job, manager="user")
                await until(admin, job, "Training")
                kubelet.binds_to = None
                await add_node(admin, "node-r", ready=False)
                async with asyncio.timeout(60):
                    await gone(admin, BERT_JOB, "sentiment", namespace=namespace)
            used = seen.used
        await admin.delete(Ref(NODE, "", "node-r"))

    # The status of a lost pod was patched too: nothing else would have replaced it, and the job would not have ended.
    assert not seen.refused
    assert used & as_operator.allowed() >= {
        Right("batch", "jobs", "delete"),
        Right("bertjob.dev", "bertjobs", "delete"),
        Right("coordination.k8s.io", "leases", "create"),
        Right("coordination.k8s.io", "leases", "get"),
        Right("coordination.k8s.io", "leases", "update"),
    }


async def test_right_to_hold_the_owner_back(real_controllers: LocalCluster, namespace: str, tmp_path: Path) -> None:
    """Where admission guards owners, a child with blockOwnerDeletion is taken from the operator for one right only."""
    own = as_operator.kubeconfig(real_controllers, tmp_path)
    lesser = as_operator.lesser(real_controllers, tmp_path, lacking="bertjobs/finalizers")
    job = a_job()
    job["metadata"]["namespace"] = namespace
    async with (
        connect(real_controllers.layout.kubeconfig) as admin,
        connect(own) as operator,
        connect(lesser) as other,
    ):
        owner = parse_job(await admin.apply(job, manager="user"))
        with pytest.raises(ForbiddenError, match="cannot set blockOwnerDeletion"):
            await other.apply(metadata.child(owner, CONFIG_MAP, "refused", data={}), manager=names.FIELD_MANAGER)
        await operator.apply(metadata.child(owner, CONFIG_MAP, "taken", data={}), manager=names.FIELD_MANAGER)
        kept = {each["metadata"]["name"] for each in await admin.list(CONFIG_MAP, namespace=namespace)}

    assert kept & {"refused", "taken"} == {"taken"}
