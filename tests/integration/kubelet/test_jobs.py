"""Jobs on processes: completion, failure policy, scaling, suspension, lost nodes."""

import os
import signal

from bertjob_api.cluster import JOB, NODE, POD, Ref

FOREVER = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
POLICY = {
    "rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
    ]
}


def running_indexes(pods):
    key = "batch.kubernetes.io/job-completion-index"
    active = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]
    return sorted(pod["metadata"]["annotations"][key] for pod in active if "deletionTimestamp" not in pod["metadata"])


async def until_running(lab, wanted):
    async def are_running():
        return running_indexes(await lab.pods()) == wanted

    await lab.until(are_running)


async def test_every_index_runs_once(lab, an_indexed_job):
    """An Indexed Job completes when each index has succeeded; its pods know their index and have stable host names."""
    await lab.apply(an_indexed_job("count", "import os; print(os.environ['JOB_COMPLETION_INDEX'])", count=3))

    job = await lab.until_condition(JOB, "count", "Complete")
    pods = await lab.pods()

    assert job["status"]["completedIndexes"] == "0-2"
    assert job["status"]["succeeded"] == 3
    assert sorted(lab.log(pod) for pod in pods) == ["0\n", "1\n", "2\n"]
    assert sorted(pod["spec"]["hostname"] for pod in pods) == ["count-0", "count-1", "count-2"]
    assert {pod["spec"]["nodeName"] for pod in pods} == {"node-0", "node-1"}


async def test_user_error_fails_the_job(lab, an_indexed_job):
    """Exit code 42 under a FailJob rule ends the whole Job with the reason and sentence of the real controller."""
    program = "import os, time; os._exit(42) if os.environ['JOB_COMPLETION_INDEX'] == '1' else time.sleep(600)"
    await lab.apply(an_indexed_job("wrong", program, podFailurePolicy=POLICY))

    job = await lab.until_condition(JOB, "wrong", "Failed")
    failed = next(each for each in job["status"]["conditions"] if each["type"] == "Failed")
    culprit = next(
        pod["metadata"]["name"] for pod in await lab.pods() if pod["metadata"]["name"].startswith("wrong-1-")
    )

    assert failed["reason"] == "PodFailurePolicy"
    assert failed["message"] == (
        f"Container main for pod default/{culprit} failed with exit code 42 matching FailJob rule at index 1"
    )


async def test_backoff_limit_ends_the_job(lab, an_indexed_job):
    """A program that keeps failing uses the Job's failure budget up."""
    await lab.apply(an_indexed_job("flaky", "raise SystemExit(1)", count=1, backoffLimit=2))

    job = await lab.until_condition(JOB, "flaky", "Failed")

    assert job["status"]["failed"] == 3
    assert {each["reason"] for each in job["status"]["conditions"]} == {"BackoffLimitExceeded"}


async def test_killed_pod_is_replaced(lab, an_indexed_job):
    """A pod whose program was killed fails with 137, and its index gets another pod."""
    await lab.apply(an_indexed_job("pair", FOREVER))
    await until_running(lab, ["0", "1"])
    victim = next(pod for pod in await lab.pods() if pod["metadata"]["name"].startswith("pair-1-"))

    async def pid():
        return lab.log(victim).split()

    os.kill(int((await lab.until(pid))[0]), signal.SIGKILL)
    await lab.until_phase(victim["metadata"]["name"], "Failed")
    await until_running(lab, ["0", "1"])

    assert (await lab.one(JOB, "pair"))["status"]["failed"] == 1


async def test_job_scales_both_ways(lab, an_indexed_job):
    """Completions and parallelism change together: new indexes start, the highest go first, and nothing counts as failed."""
    await lab.apply(an_indexed_job("elastic", FOREVER, count=2))
    await until_running(lab, ["0", "1"])

    await lab.apply(an_indexed_job("elastic", FOREVER, count=3))
    await until_running(lab, ["0", "1", "2"])
    await lab.apply(an_indexed_job("elastic", FOREVER, count=1))
    await until_running(lab, ["0"])

    assert "failed" not in (await lab.one(JOB, "elastic"))["status"]


async def test_suspended_job_gives_its_nodes_back(lab, an_indexed_job):
    """Suspending ends the pods without counting failures; resuming starts them again."""
    await lab.apply(an_indexed_job("pause", FOREVER))
    await until_running(lab, ["0", "1"])

    await lab.apply(an_indexed_job("pause", FOREVER, suspend=True))

    async def nothing_left():
        return await lab.pods() == []

    await lab.until(nothing_left)
    job = await lab.until_condition(JOB, "pause", "Suspended")
    assert "startTime" not in job["status"]

    await lab.apply(an_indexed_job("pause", FOREVER, suspend=False))
    await until_running(lab, ["0", "1"])
    assert "failed" not in (await lab.one(JOB, "pause"))["status"]


async def test_deadline_ends_the_job(lab, an_indexed_job):
    """A Job that runs longer than its deadline fails, and its pods end."""
    await lab.apply(an_indexed_job("late", FOREVER, activeDeadlineSeconds=1))

    job = await lab.until_condition(JOB, "late", "Failed")

    assert {each["reason"] for each in job["status"]["conditions"]} == {"DeadlineExceeded"}


async def test_deleted_job_takes_its_pods_along(lab, an_indexed_job):
    """Nothing of a deleted Job stays."""
    await lab.apply(an_indexed_job("short", FOREVER))
    await until_running(lab, ["0", "1"])

    await lab.cluster.delete(Ref(JOB, "default", "short"))

    async def nothing_left():
        return await lab.pods() == []

    await lab.until(nothing_left)


async def test_pod_of_a_lost_node_is_replaced_once_it_is_declared_failed(lab, an_indexed_job):
    """Under podReplacementPolicy Failed a force-deleted pod of a dead node holds its index until its phase is Failed."""
    await lab.apply(an_indexed_job("survivor", FOREVER, podReplacementPolicy="Failed", podFailurePolicy=POLICY))
    await until_running(lab, ["0", "1"])
    victim = next(pod for pod in await lab.pods() if pod["spec"]["nodeName"] == "node-1")
    index = victim["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]

    await lab.kubelet.kill_node("node-1")

    async def is_lost():
        node = next(iter(await lab.cluster.list(NODE, name="node-1")))
        return any(each["type"] == "Ready" and each["status"] == "Unknown" for each in node["status"]["conditions"])

    await lab.until(is_lost)
    name = victim["metadata"]["name"]
    await lab.cluster.delete(Ref(POD, "default", name), grace_seconds=0)
    assert (await lab.one(POD, name))["metadata"]["deletionTimestamp"]
    await lab.cluster.patch_status(Ref(POD, "default", name), {"phase": "Failed"}, uid=victim["metadata"]["uid"])
    await until_running(lab, ["0", "1"])

    replacement = next(
        pod
        for pod in await lab.pods()
        if pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == index
    )
    assert replacement["spec"]["nodeName"] == "node-0"


async def test_healed_node_takes_pods_again(lab, an_indexed_job):
    """After a loss the node comes back Ready, and what ran on it without restarts has failed."""
    await lab.apply(an_indexed_job("rebooted", FOREVER))
    await until_running(lab, ["0", "1"])
    victim = next(pod for pod in await lab.pods() if pod["spec"]["nodeName"] == "node-1")

    await lab.kubelet.kill_node("node-1")
    await lab.kubelet.heal_node("node-1")
    pod = await lab.until_phase(victim["metadata"]["name"], "Failed")

    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] == "ContainerStatusUnknown"
    await until_running(lab, ["0", "1"])
