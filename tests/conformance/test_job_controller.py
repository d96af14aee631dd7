"""What a Job's controller does, embedded and real: pods are played by hand, so only the controller is compared."""

from bertjob_api.cluster import JOB, POD, Object

INDEX = "batch.kubernetes.io/job-completion-index"
NOW = "2026-01-01T00:00:00Z"
POLICY = {
    "rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
    ]
}


def a_job(ground, *, count=2, **spec) -> Object:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]}}
    body = {"completionMode": "Indexed", "completions": count, "parallelism": count, "template": template, **spec}
    metadata = {"name": "j", "namespace": ground.namespace}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": body}


async def until_indexes(ground, *wanted: str) -> dict[str, Object]:
    """Return the active pods by index once these are the wanted ones."""

    async def found():
        pods = await ground.cluster.list(POD, namespace=ground.namespace)
        active = [
            pod
            for pod in pods
            if pod["status"].get("phase") not in ("Succeeded", "Failed") and "deletionTimestamp" not in pod["metadata"]
        ]
        by_index = {pod["metadata"]["annotations"][INDEX]: pod for pod in active}
        return (by_index,) if sorted(by_index) == list(wanted) and len(active) == len(wanted) else None

    return (await ground.until(found))[0]


async def end(ground, pod: Object, code: int, **status) -> None:
    """Play a kubelet whose container ended with *code*."""
    state = {"terminated": {"exitCode": code, "startedAt": NOW, "finishedAt": NOW}}
    container = {"name": "main", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    phase = "Failed" if code else "Succeeded"
    ref = ground.ref(POD, pod["metadata"]["name"])
    await ground.cluster.patch_status(ref, {"phase": phase, "containerStatuses": [container], **status})


async def until_status(ground, holds) -> Object:
    async def found():
        status = (await ground.get(JOB, "j")).get("status", {})
        return status if holds(status) else None

    return await ground.until(found)


def conditions(status: Object) -> dict[str, tuple[str, str, str]]:
    return {
        each["type"]: (each["status"], each.get("reason", ""), each.get("message", ""))
        for each in status.get("conditions", ())
    }


async def test_pods_know_their_index(ground):
    """Each index gets one pod with name, label, annotation, host name, environment and owner of the documentation."""
    job = await ground.cluster.apply(a_job(ground), manager="m")
    pods = await until_indexes(ground, "0", "1")
    pod = pods["1"]
    owner = pod["metadata"]["ownerReferences"][0]

    assert pod["metadata"]["name"].startswith("j-1-")
    assert pod["metadata"]["labels"][INDEX] == "1"
    assert pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "j"
    assert pod["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] == job["metadata"]["uid"]
    assert pod["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]
    assert pod["spec"]["hostname"] == "j-1"
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("Job", job["metadata"]["uid"], True)
    env = pod["spec"]["containers"][0]["env"]
    assert [each["name"] for each in env] == ["JOB_COMPLETION_INDEX"]
    assert env[0]["valueFrom"]["fieldRef"]["fieldPath"] == f"metadata.labels['{INDEX}']"


async def test_success_of_all_indexes_completes(ground):
    """The Job counts its pods and completes with the last index."""
    await ground.cluster.apply(a_job(ground), manager="m")
    pods = await until_indexes(ground, "0", "1")
    status = await until_status(ground, lambda status: status.get("active") == 2)
    assert (status["ready"], status["terminating"]) == (0, 0)
    assert "startTime" in status

    await end(ground, pods["0"], 0)
    status = await until_status(ground, lambda status: status.get("succeeded") == 1)
    assert status["completedIndexes"] == "0"
    await end(ground, pods["1"], 0)
    status = await until_status(ground, lambda status: "Complete" in conditions(status))

    assert (status["succeeded"], status["completedIndexes"]) == (2, "0,1")
    assert "active" not in status
    assert "completionTime" in status
    said = ("True", "CompletionsReached", "Reached expected number of succeeded pods")
    assert conditions(status) == {"SuccessCriteriaMet": said, "Complete": said}


async def test_user_error_fails_the_job(ground):
    """A FailJob rule ends the Job with its reason and sentence; the other pods are deleted."""
    await ground.cluster.apply(a_job(ground, podFailurePolicy=POLICY, podReplacementPolicy="Failed"), manager="m")
    pods = await until_indexes(ground, "0", "1")
    await end(ground, pods["1"], 42)

    status = await until_status(ground, lambda status: "FailureTarget" in conditions(status))
    name = f"{ground.namespace}/{pods['1']['metadata']['name']}"
    message = f"Container main for pod {name} failed with exit code 42 matching FailJob rule at index 1"
    assert conditions(status)["FailureTarget"] == ("True", "PodFailurePolicy", message)
    await until_indexes(ground)


async def test_failures_exhaust_the_limit(ground):
    """One failure more than the limit ends the Job."""
    await ground.cluster.apply(a_job(ground, count=1, backoffLimit=0), manager="m")
    pods = await until_indexes(ground, "0")
    await end(ground, pods["0"], 1)

    status = await until_status(ground, lambda status: "Failed" in conditions(status))

    assert status["failed"] == 1
    said = ("True", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    assert conditions(status) == {"FailureTarget": said, "Failed": said}


async def test_disruptions_are_not_failures(ground):
    """A pod with DisruptionTarget is replaced and not counted under an Ignore rule."""
    job = a_job(ground, count=1, backoffLimit=0, podFailurePolicy=POLICY, podReplacementPolicy="Failed")
    await ground.cluster.apply(job, manager="m")
    pods = await until_indexes(ground, "0")
    disrupted = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": NOW}
    await end(ground, pods["0"], 137, conditions=[disrupted])

    again = await until_indexes(ground, "0")

    assert again["0"]["metadata"]["uid"] != pods["0"]["metadata"]["uid"]
    status = (await ground.get(JOB, "j"))["status"]
    assert status.get("failed", 0) == 0
    assert conditions(status) == {}


async def test_job_scales_both_ways(ground):
    """Completions and parallelism move together; the highest indexes go first and are no failures."""
    await ground.cluster.apply(a_job(ground), manager="m")
    await until_indexes(ground, "0", "1")
    await ground.cluster.apply(a_job(ground, count=4), manager="m")
    await until_indexes(ground, "0", "1", "2", "3")
    await ground.cluster.apply(a_job(ground, count=1), manager="m")
    await until_indexes(ground, "0")

    status = await until_status(ground, lambda status: status.get("active") == 1)
    assert status.get("failed", 0) == 0


async def test_suspended_job_has_no_pods(ground):
    """A suspended Job has neither pods nor a start time; both come when it is resumed."""
    await ground.cluster.apply(a_job(ground, suspend=True), manager="m")
    status = await until_status(ground, lambda status: "Suspended" in conditions(status))
    assert conditions(status)["Suspended"] == ("True", "JobSuspended", "Job suspended")
    assert "startTime" not in status

    await ground.cluster.apply(a_job(ground, suspend=False), manager="m")
    await until_indexes(ground, "0", "1")
    status = await until_status(ground, lambda status: conditions(status)["Suspended"][0] == "False")
    assert conditions(status)["Suspended"] == ("False", "JobResumed", "Job resumed")
    assert "startTime" in status

    await ground.cluster.apply(a_job(ground, suspend=True), manager="m")
    await until_indexes(ground)
    status = await until_status(ground, lambda status: conditions(status)["Suspended"][0] == "True")
    assert "startTime" not in status
    assert status.get("failed", 0) == 0
