"""Pods as processes: what a program sees, how it ends, and what its status tells."""

import asyncio
import json
import os
import signal
from pathlib import Path

from bertjob_api.cluster import POD, Ref

SHOW_ENV = "import json, os; print(json.dumps(dict(os.environ)))"
FOREVER = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"


def exists(path):
    """Return whether a file is there."""
    return Path(path).exists()


def terminated(pod, container=0):
    return pod["status"]["containerStatuses"][container]["state"]["terminated"]


async def test_output_and_exit_code_come_back(lab, a_pod):
    """A program's output is in its log, and its exit code and termination message in the pod's status."""
    program = "import sys; print('hello'); open('/dev/termination-log', 'w').write('done'); sys.exit(3)"
    program = program.replace("'/dev/termination-log'", "sys.argv[1]")
    await lab.apply(a_pod("talker", program, "/dev/termination-log"))

    pod = await lab.until_phase("talker", "Failed")

    assert lab.log(pod) == "hello\n"
    assert (terminated(pod)["exitCode"], terminated(pod)["reason"]) == (3, "Error")
    assert terminated(pod)["message"] == "done"
    assert pod["status"]["podIP"].startswith("127.")


async def test_environment_is_what_the_spec_says(lab, a_pod, monkeypatch):
    """Downward API, ConfigMap, Secret and dependent variables are set, and nothing of the kubelet's own leaks."""
    monkeypatch.setenv("SECRET_OF_THE_KUBELET", "x")
    env = [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "x", "optional": True}}},
        {"name": "BOTH", "value": "$(APP)-$(COLOUR)-$$(APP)"},
    ]
    await lab.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"colour": "red"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"token": "t0"}},
        a_pod("env", SHOW_ENV, env=env),
    )

    pod = await lab.until_phase("env", "Succeeded")
    seen = json.loads(lab.log(pod))

    assert (seen["POD_IP"], seen["APP"], seen["COLOUR"], seen["TOKEN"]) == (
        pod["status"]["podIP"],
        "env",
        "red",
        "t0",
    )
    assert seen["BOTH"] == "env-red-$(APP)"
    assert "NONE" not in seen
    assert "SECRET_OF_THE_KUBELET" not in seen


async def test_init_container_hands_files_over(lab, a_pod):
    """Init containers run first, and mount paths in arguments mean the pod's volumes."""
    init = {
        "name": "fetch",
        "command": ["python", "-c", "import shutil, sys; shutil.copy(*sys.argv[1:])", "/etc/in/a.txt", "/mnt/models/b"],
        "volumeMounts": [{"name": "in", "mountPath": "/etc/in"}, {"name": "models", "mountPath": "/mnt/models"}],
    }
    volumes = [{"name": "in", "configMap": {"name": "files"}}, {"name": "models", "emptyDir": {}}]
    spec = {"initContainers": [init], "volumes": volumes}
    mounts = [{"name": "models", "mountPath": "/mnt/models"}]
    show = "import sys; print(open(sys.argv[1].partition('=')[2]).read())"
    await lab.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": {"a.txt": "cargo"}},
        a_pod("reader", show, "--file=/mnt/models/b", spec=spec, volumeMounts=mounts),
    )

    pod = await lab.until_phase("reader", "Succeeded")

    assert lab.log(pod) == "cargo\n"
    assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    assert not exists("/mnt/models/b")


async def test_failed_init_container_fails_the_pod(lab, a_pod):
    """A pod that never restarts fails with its init container, and its main container never starts."""
    init = {"name": "fetch", "command": ["python", "-c", "raise SystemExit('no such model')"]}
    init["terminationMessagePolicy"] = "FallbackToLogsOnError"
    await lab.apply(a_pod("broken", "print('started')", spec={"initContainers": [init]}))

    pod = await lab.until_phase("broken", "Failed")

    assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["message"] == "no such model\n"
    assert "waiting" in pod["status"]["containerStatuses"][0]["state"]


async def test_missing_secret_waits_and_then_starts(lab, a_pod):
    """A container whose Secret is missing says so, and starts once it exists."""
    env = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "late", "key": "token"}}}]
    await lab.apply(a_pod("waiter", SHOW_ENV, env=env))

    async def says_so():
        statuses = (await lab.one(POD, "waiter")).get("status", {}).get("containerStatuses") or [{}]
        return statuses[0].get("state", {}).get("waiting", {}).get("reason") == "CreateContainerConfigError"

    await lab.until(says_so)
    await lab.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"}, "stringData": {"token": "1"}})

    await lab.until_phase("waiter", "Succeeded")


async def test_unknown_image_says_what_to_do(lab):
    """A container without a command waits with a reason that names its image."""
    spec = {"containers": [{"name": "main", "image": "example.com/tool:1"}]}
    await lab.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "image"}, "spec": spec})

    async def says_so():
        statuses = (await lab.one(POD, "image")).get("status", {}).get("containerStatuses") or [{}]
        return statuses[0].get("state", {}).get("waiting")

    waiting = await lab.until(says_so)

    assert waiting["reason"] == "ErrImagePull"
    assert "example.com/tool:1" in waiting["message"]


async def test_killed_program_is_started_again(lab, a_pod):
    """Under restartPolicy Always a killed program comes back, and the status tells how it ended before."""
    await lab.apply(a_pod("always", FOREVER, spec={"restartPolicy": "Always"}))
    pod = await lab.until_phase("always", "Running")

    async def pid():
        return lab.log(pod).split()

    first = int((await lab.until(pid))[0])
    os.kill(first, signal.SIGKILL)

    async def again():
        status = (await lab.one(POD, "always"))["status"]["containerStatuses"][0]
        return status if status["restartCount"] == 1 and "running" in status["state"] else None

    status = await lab.until(again)

    assert status["lastState"]["terminated"]["exitCode"] == 137


async def test_deleted_pod_ends_in_its_grace(lab, a_pod):
    """Deletion sends SIGTERM, waits, reports the end, and only then takes the pod away."""
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('bye'), sys.exit(143)))\n"
        "print('up')\ntime.sleep(600)"
    )
    await lab.apply(a_pod("polite", program))
    pod = await lab.until_phase("polite", "Running")

    async def is_up():
        return "up" in lab.log(pod)

    await lab.until(is_up)
    phases = []

    async def follow():
        async for change in lab.cluster.changes(POD):
            phase = change.object.get("status", {}).get("phase")
            phases.append((change.type, phase))

    following = asyncio.create_task(follow())
    await lab.cluster.delete(Ref(POD, "default", "polite"))

    async def is_gone():
        return await lab.one(POD, "polite") is None

    await lab.until(is_gone)
    following.cancel()

    assert lab.log(pod) == "up\nbye\n"
    assert phases[-1] == ("Deleted", "Failed")


async def test_stubborn_pod_is_killed(lab, a_pod):
    """A program that ignores SIGTERM is killed after the grace, its children with it."""
    program = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "print(os.getpid(), child.pid)\ntime.sleep(600)"
    )
    await lab.apply(a_pod("stubborn", program))
    pod = await lab.until_phase("stubborn", "Running")

    async def pids():
        return [int(word) for word in lab.log(pod).split()]

    started = await lab.until(pids)
    await lab.cluster.delete(Ref(POD, "default", "stubborn"))

    async def is_gone():
        return await lab.one(POD, "stubborn") is None

    await lab.until(is_gone)

    assert [pid for pid in started if exists(f"/proc/{pid}")] == []


async def test_force_deleted_pod_is_gone_at_once(lab, a_pod):
    """Grace 0 takes the pod out of the cluster, and its processes end."""
    await lab.apply(a_pod("forced", FOREVER))
    pod = await lab.until_phase("forced", "Running")

    async def pid():
        return lab.log(pod).split()

    started = int((await lab.until(pid))[0])
    await lab.cluster.delete(Ref(POD, "default", "forced"), grace_seconds=0)

    assert await lab.one(POD, "forced") is None

    async def has_ended():
        return not exists(f"/proc/{started}")

    await lab.until(has_ended)
