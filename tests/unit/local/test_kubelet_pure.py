"""The kubelet's pure parts: environment, paths, images, quantities, status, proxy table, logs."""

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bertjob_api import commands
from bertjob_api.cluster import CONFIG_MAP, SECRET, Ref
from bertjob_local import addresses
from bertjob_local.kubelet import env, images, launch, probes, proxy, quantity, records, status, substitution
from bertjob_local.kubelet.logs import LogRange, Wanted, read

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POD = {"metadata": {"name": "p", "namespace": "default", "uid": "u", "labels": {"a": "1"}}, "spec": {"containers": []}}


def around(**objects):
    kinds = {"ConfigMap": CONFIG_MAP, "Secret": SECRET}
    found = {Ref(kinds[obj["kind"]], "default", name): obj for name, obj in objects.items()}
    return env.Surroundings(pod=POD, pod_ip="127.1.1.1", host_ip="127.0.0.10", objects=found, api_server={})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("/mnt/models", "/v/models"),
        ("/mnt/models/a/b", "/v/models/a/b"),
        ("--dir=/mnt/models/", "--dir=/v/models/"),
        ("/bin:/mnt/models:/mnt/models/x", "/bin:/v/models:/v/models/x"),
        ("/mnt/models/deep/x", "/v/models/deep/x"),
        ("/mnt/models/cache/x", "/v/cache/x"),
        ("/mnt/models2", "/mnt/models2"),
        ("/mnt/models-old", "/mnt/models-old"),
        ("/srv/mnt/models", "/srv/mnt/models"),
        ("file:///mnt/models/x", "file:///mnt/models/x"),
        ("s3://bucket/mnt/models", "s3://bucket/mnt/models"),
        ("relative/mnt/models", "relative/mnt/models"),
        ('{"path": "/mnt/models"}', '{"path": "/v/models"}'),
    ],
)
def test_mount_paths_are_replaced_as_whole_paths(text, result):
    """Only a whole path is replaced, the longest mount first, and never inside a URI."""
    mounts = [("/mnt/models", Path("/v/models")), ("/mnt/models/cache", Path("/v/cache"))]

    assert substitution.substitution(mounts)(text) == result


def test_replaced_paths_are_not_replaced_again():
    """A folder below another mount path stays as it is."""
    local = substitution.substitution([("/tmp", Path("/state/tmp")), ("/state", Path("/wrong"))])

    assert local("/tmp/x") == "/state/tmp/x"


@pytest.mark.parametrize(
    ("text", "result"),
    [("$(A)", "1"), ("x$(A)y$(B)", "x1y$(B)"), ("$$(A)", "$(A)"), ("$A", "$A"), ("$$$(A)", "$1"), ("$(A", "$(A")],
)
def test_references_are_expanded(text, result):
    """Known references are replaced, unknown ones stay, and a doubled dollar escapes."""
    assert substitution.expanded(text, {"A": "1"}) == result


def test_missing_key_names_object_and_next_step():
    """An error about a reference says which object and key, and what to do."""
    container = {"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}]}

    with pytest.raises(env.ConfigError, match="ConfigMap c, key k: ConfigMap c does not exist; create it"):
        env.environment(container, around())
    with pytest.raises(env.ConfigError, match="no key k"):
        env.environment(container, around(c={"kind": "ConfigMap", "data": {}}))


def test_env_from_takes_all_keys():
    """EnvFrom sets every key, with the prefix, and env wins over it."""
    container = {
        "envFrom": [{"configMapRef": {"name": "c"}, "prefix": "P_"}, {"secretRef": {"name": "none", "optional": True}}],
        "env": [{"name": "P_A", "value": "own"}],
    }

    result = env.environment(container, around(c={"kind": "ConfigMap", "data": {"A": "1", "B": "2"}}))

    assert result == {"P_A": "own", "P_B": "2"}


def test_references_are_found_everywhere():
    """ConfigMaps and Secrets of volumes, projections and environments are read, and nothing else."""
    spec = {
        "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "s1", "key": "k"}}}]}],
        "volumes": [
            {"name": "v", "secret": {"secretName": "s2"}},
            {"name": "w", "projected": {"sources": [{"configMap": {"name": "c1"}}]}},
            {"name": "secret", "emptyDir": {}},
        ],
    }

    found = env.references({"metadata": {"namespace": "n"}, "spec": spec})

    assert found == {Ref(SECRET, "n", "s1"), Ref(SECRET, "n", "s2"), Ref(CONFIG_MAP, "n", "c1")}


def test_images_stand_for_commands():
    """A stated command wins; the downloader's image and mapped images have one; others are refused with a next step."""
    assert images.argv({"command": ["python", "-m", "x"], "args": ["y"]}, {}) == [sys.executable, "-m", "x", "y"]
    fetch = images.argv({"image": "kserve/storage-initializer:v0.20.0", "args": ["s3://a", "/mnt/models"]}, {})
    assert fetch == [sys.executable, *commands.fetch().argv[1:], "s3://a", "/mnt/models"]
    assert images.argv({"image": "a/b:1", "args": ["z"]}, {"a/*": "tool --flag 'two words'"}) == [
        "tool",
        "--flag",
        "two words",
        "z",
    ]
    with pytest.raises(images.ImageError, match=r"'c:2'.*map the image"):
        images.argv({"image": "c:2"}, {})


@pytest.mark.parametrize(
    ("text", "divisor", "result"),
    [("500m", "1", 1), ("2", "1m", 2000), ("2Gi", "1Mi", 2048), ("1.5", "1", 2), ("1e3", "1", 1000), ("1k", "1", 1000)],
)
def test_quantities_are_divided_and_rounded_up(text, divisor, result):
    """Resource fields come as whole multiples of their divisor."""
    assert quantity.scaled(text, divisor=divisor) == result


def a_record(name="main", **fields):
    return records.Record(name=name, **fields)


def an_end(code):
    return records.Ended(exit_code=code, since=NOW, until=NOW)


@pytest.mark.parametrize(
    ("policy", "init", "main", "phase"),
    [
        ("Always", [], [a_record()], "Pending"),
        ("Never", [a_record(state=an_end(1))], [a_record()], "Failed"),
        ("OnFailure", [a_record(state=an_end(1))], [a_record()], "Pending"),
        ("Never", [a_record(state=an_end(0))], [a_record(state=records.Running(since=NOW))], "Running"),
        ("Never", [], [a_record(state=an_end(0)), a_record(state=an_end(0))], "Succeeded"),
        ("Never", [], [a_record(state=an_end(0)), a_record(state=an_end(1))], "Failed"),
        ("Never", [], [a_record(state=an_end(0)), a_record(state=records.Running(since=NOW))], "Running"),
        ("OnFailure", [], [a_record(state=an_end(1))], "Running"),
        ("Always", [], [a_record(state=an_end(0))], "Running"),
        ("Always", [], [a_record(last=an_end(1))], "Running"),
    ],
)
def test_phase_follows_from_containers(policy, init, main, phase):
    """The pod's phase is what the Kubernetes documentation says."""
    assert records.pod_phase(policy, init=init, main=main) == phase


def test_conditions_of_others_are_kept():
    """The kubelet overwrites its own conditions only, and keeps their time while they do not change."""
    before = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": "2025-01-01T00:00:00Z"}
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": "2025-01-01T00:00:00Z"}
    facts = status.Facts(
        pod={**POD, "status": {"conditions": [before, ready]}},
        init=[],
        main=[a_record(state=records.Running(since=NOW))],
        pod_ip="127.1.1.1",
        host_ip="127.0.0.10",
        start_time=NOW,
    )

    same = {each["type"]: each for each in status.pod_status(facts, now=NOW)["conditions"]}
    facts = replace(facts, main=[replace(facts.main[0], is_ready=True)])
    other = {each["type"]: each for each in status.pod_status(facts, now=NOW)["conditions"]}

    assert same["DisruptionTarget"] == before
    assert same["Ready"]["lastTransitionTime"] == "2025-01-01T00:00:00Z"
    assert (other["Ready"]["status"], other["Ready"]["lastTransitionTime"]) == ("True", "2026-01-01T00:00:00Z")


def test_probe_counts_in_rows():
    """A verdict needs as many equal answers in a row as its threshold says; one other answer starts afresh."""
    timing = probes.timing({"failureThreshold": 3, "successThreshold": 2})
    tally, verdicts = probes.Tally(holds=False), []
    for answer in (True, True, False, False, True, False, False, False):
        tally = probes.tallied(tally, answer, timing)
        verdicts.append(tally.holds)

    assert verdicts == [False, True, True, True, True, True, True, False]


def a_backend(name, *, ready="True", **labels):
    return {
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"containers": [{"ports": [{"name": "web", "containerPort": 8000}]}]},
        "status": {"podIP": f"127.9.9.{name}", "conditions": [{"type": "Ready", "status": ready}]},
    }


def a_service(**spec):
    body = {
        "clusterIP": "127.100.1.1",
        "selector": {"app": "x"},
        "ports": [{"port": 8080, "targetPort": "web"}],
        **spec,
    }
    return {"metadata": {"name": "s", "namespace": "default"}, "spec": body}


@pytest.mark.parametrize(
    ("service", "targets"),
    [
        (a_service(), [("127.9.9.1", 8000)]),
        (a_service(ports=[{"port": 8080}]), [("127.9.9.1", 8080)]),
        (a_service(ports=[{"port": 8080, "targetPort": "none"}]), []),
        (a_service(publishNotReadyAddresses=True), [("127.9.9.1", 8000), ("127.9.9.2", 8000)]),
        (a_service(selector={"app": "y"}), []),
        (a_service(clusterIP="None"), []),
        (a_service(selector=None), []),
    ],
)
def test_service_knows_its_ready_pods(service, targets):
    """A Service forwards to ready pods of its selector, by port name or number; one without such a pod is not listened on."""
    pods = [a_backend("1", app="x"), a_backend("2", ready="False", app="x"), a_backend("3", app="z")]

    found = proxy.table([service], pods)

    assert [target for each in found.values() for target in each] == targets
    assert list(found) == ([("127.100.1.1", 8080)] if targets else [])


def test_ports_that_need_root_are_shifted():
    """Without rights for low ports a Service's port 80 is reached at 8080."""
    assert [addresses.open_port(80, first=1024), addresses.open_port(8081, first=1024)] == [8080, 8081]
    assert addresses.open_port(80, first=0) == 80


def test_pod_addresses_differ():
    """No two pods of a kubelet share an address, and all are on loopback."""
    giver = addresses.PodAddresses()
    taken = [giver.take() for _ in range(1000)]

    assert len(set(taken)) == 1000
    assert all(each.startswith("127.") and not each.startswith("127.100.") for each in taken)


@pytest.mark.parametrize(
    ("wanted", "start", "text"),
    [
        (Wanted(), 0, "one\ntwo\nthree\n"),
        (Wanted(), 4, "two\nthree\n"),
        (Wanted(tail_lines=1), 0, "three\n"),
        (Wanted(tail_lines=2), 0, "two\nthree\n"),
        (Wanted(tail_lines=9), 4, "two\nthree\n"),
        (Wanted(tail_lines=0), 0, ""),
        (Wanted(limit_bytes=5), 0, "one\nt"),
    ],
)
async def test_part_of_a_log_is_read(tmp_path, wanted, start, text):
    """Tail and limit count within what one start of the container wrote."""
    path = tmp_path / "main.log"
    path.write_text("one\ntwo\nthree\n")
    log = LogRange(path=path, start=start, end=None)

    parts = [part async for part in read(log, wanted, is_growing=lambda: False)]

    assert b"".join(parts).decode() == text


def test_message_falls_back_to_the_log(tmp_path):
    """A failed program without a message is quoted from its own part of the log, a successful one is not."""
    log, message = tmp_path / "main.log", tmp_path / "message"
    log.write_text("before\nboom\n")
    message.write_text("")
    plan = launch.Launch(argv=(), env={}, folder=tmp_path, log=log, message=message, local=str)
    policy = "FallbackToLogsOnError"

    assert launch.message_of(plan, policy=policy, exit_code=1, log_start=7) == "boom\n"
    assert launch.message_of(plan, policy=policy, exit_code=0, log_start=7) == ""
    assert launch.message_of(plan, policy="File", exit_code=1, log_start=7) == ""
    message.write_text("x" * 5000)
    assert launch.message_of(plan, policy=policy, exit_code=1, log_start=7) == "x" * 4096


def test_base_environment_finds_running_code_and_the_pods_own_temporary_folder():
    """Programs find what this process runs, and temporary files stay in the pod when it mounts /tmp."""
    base = launch.base_env({"PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "no"}, temporary="/state/tmp")

    assert base["PATH"] == "/bin"
    assert base["TMPDIR"] == "/state/tmp"
    assert set(base) == {"PATH", "LANG", "PYTHONPATH", "TMPDIR"}
    assert any(Path(path, "bertjob_api").is_dir() for path in base["PYTHONPATH"].split(":"))
    assert "TMPDIR" not in launch.base_env({}, temporary="/tmp")


def test_interpreter_below_a_mount_path_stays_what_it_is(tmp_path, monkeypatch):
    """A checkout in /tmp runs its pods, though every pod mounts a folder of its own at /tmp."""
    monkeypatch.setattr(sys, "executable", "/tmp/checkout/.venv/bin/python")
    container = {
        "name": "main",
        "command": ["python", "-m", "x", "/tmp/out"],
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
    }
    found = around()

    plan = launch.plan(container, found, root=tmp_path, folders={"scratch": tmp_path / "scratch"}, mapped={})

    assert plan.argv == ("/tmp/checkout/.venv/bin/python", "-m", "x", str(tmp_path / "scratch" / "out"))
