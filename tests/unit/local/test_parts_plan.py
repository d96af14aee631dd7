"""The parts of a local cluster as values."""

import json
from pathlib import Path

import pytest

from bertjob_local.parts import ALL_PARTS, API_ONLY, Settings, plan
from bertjob_local.parts.layout import Layout
from bertjob_local.parts.part import Part, is_up, phase_after_exit, startable
from bertjob_local.parts.ports import Ports

PORTS = Ports(1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009)
SECRETS = ("token-of-admin", "secret-of-s3")


def _parts(*names: str, images: str | None = None) -> dict[str, Part]:
    settings = Settings(parts=names or ALL_PARTS, nodes=4, images=images)
    given = plan.Inputs(
        layout=Layout(Path("/state")),
        ports=PORTS,
        settings=settings,
        binaries={name: Path("/bin") / name for name in plan.binaries_for(settings)},
        tokens={"admin": SECRETS[0]},
        s3_keys=("access", SECRETS[1]),
        charts=Path("/charts"),
    )
    return {part.name: part for part in plan.parts(given)}


def test_no_secret_in_any_command():
    """Tokens and S3 secrets never stand in a command line, where every user can read them."""
    words = [word for part in _parts().values() for word in part.argv]

    assert not [word for word in words for secret in SECRETS if secret in word]


@pytest.mark.parametrize(
    "names",
    [API_ONLY, (*API_ONLY, "controller-manager"), ("s3",), (*API_ONLY, "kserve"), ALL_PARTS],
    ids=["api", "controllers", "s3", "kserve", "all"],
)
def test_every_selection_can_start(names: tuple[str, ...]):
    """Whatever is selected, starting what can start brings up every part."""
    parts = tuple(_parts(*names).values())
    phases = dict.fromkeys((part.name for part in parts), "waiting")

    while ready := startable(parts, phases=phases):
        phases |= {part.name: "done" if part.task else "ready" for part in ready}

    assert is_up(phases), phases


def test_independent_parts_start_together():
    """What needs nothing starts at once, so a start takes as long as its longest chain."""
    parts = tuple(_parts().values())

    first = startable(parts, phases=dict.fromkeys((part.name for part in parts), "waiting"))

    assert {part.name for part in first} == {"etcd", "s3", "kserve-render"}


def test_everything_listens_on_loopback():
    """No part offers a port to other machines."""
    flags = [word for part in _parts().values() for word in part.argv if "=" in word]
    listening = [flag for flag in flags if "-address=" in flag or "-addr=" in flag or "-urls=" in flag]

    assert len(listening) >= 10
    assert not [flag for flag in listening if "127.0.0.1" not in flag]
    assert "--port=127.0.0.1:1006" in _parts()["s3"].argv


def test_service_accounts_are_demanded_only_where_somebody_makes_them():
    """Without the controller manager no pod could be created if the plugin stayed on."""
    off = "--disable-admission-plugins=ServiceAccount"

    assert off in _parts(*API_ONLY)["apiserver"].argv
    assert off not in _parts(*API_ONLY, "controller-manager")["apiserver"].argv


def test_no_controller_writes_endpoints():
    """The API refuses loopback addresses in endpoints, so the controllers that write them are off."""
    flag = next(word for word in _parts()["controller-manager"].argv if word.startswith("--controllers="))

    assert {"-endpoints-controller", "-endpointslice-controller"} <= set(flag.split("=")[1].split(","))


def test_the_kubelet_gets_its_choices():
    """Nodes, state folder and image map reach the process kubelet; no map means its own."""
    argv = _parts(images="/images.yaml")["kubelet"].argv

    assert argv[1:3] == ("-m", "bertjob_local.kubelet")
    assert argv[argv.index("--nodes") + 1] == "4"
    assert argv[argv.index("--state") + 1] == "/state/kubelet"
    assert argv[argv.index("--images") + 1] == "/images.yaml"
    assert "--images" not in _parts()["kubelet"].argv


SERVICE = Part(name="service", argv=("true",))
TASK = Part(name="task", argv=("true",), task=True)


@pytest.mark.parametrize(
    ("part", "code", "wanted", "was_ready", "expected"),
    [
        pytest.param(SERVICE, 0, False, True, "stopped", id="asked to stop"),
        pytest.param(SERVICE, -9, True, True, "waiting", id="crashed after it was ready: again"),
        pytest.param(SERVICE, 1, True, False, "failed", id="never ready: the start fails"),
        pytest.param(SERVICE, 0, True, False, "failed", id="ended well and never ready"),
        pytest.param(TASK, 0, True, False, "done", id="task done"),
        pytest.param(TASK, 1, True, False, "failed", id="task failed"),
    ],
)
def test_phase_after_exit(part: Part, code: int, wanted: bool, was_ready: bool, expected: str):
    """What an exit means depends on whether it was asked for and whether the part had been ready."""
    assert phase_after_exit(part, code=code, wanted=wanted, was_ready=was_ready) == expected


@pytest.mark.parametrize(
    ("parts", "nodes", "said"),
    [
        pytest.param(("etcd", "dns"), 1, "parts: dns unknown", id="unknown part"),
        pytest.param(("etcd", "scheduler"), 1, "parts: scheduler cannot run without etcd and apiserver", id="no API"),
        pytest.param(ALL_PARTS, 0, "nodes: got 0, expected at least 1", id="no nodes"),
    ],
)
def test_settings_refuse_what_cannot_run(parts: tuple[str, ...], nodes: int, said: str):
    """A choice that cannot run is refused with its field, before anything starts."""
    with pytest.raises(ValueError, match=said):
        Settings(parts=parts, nodes=nodes)


def test_ready_nodes_are_counted():
    """Registered is not ready: only Nodes whose Ready condition is True count."""
    conditions: list[list[dict[str, str]]] = [
        [{"type": "Ready", "status": "True"}, {"type": "MemoryPressure", "status": "False"}],
        [{"type": "Ready", "status": "Unknown"}],
        [],
    ]
    nodes = [{"status": {"conditions": each}} for each in conditions]

    assert plan.ready_nodes(json.dumps({"items": [*nodes, {"status": {}}]}).encode()) == 1


def test_owners_are_guarded():
    """A local cluster asks as much of the operator's role as OpenShift does."""
    assert "--enable-admission-plugins=OwnerReferencesPermissionEnforcement" in _parts()["apiserver"].argv
