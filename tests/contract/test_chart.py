"""The Helm chart says what the contract and the operator say."""

import importlib.util
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.helm import CHART, KSERVE, PROMETHEUS, HelmError, helm, only, rendered

from bertjob_api import commands, names
from bertjob_api.crd import bert_job_crd
from bertjob_local import binaries
from bertjob_operator import __main__ as program
from bertjob_operator.shell import settings

pytestmark = pytest.mark.skipif(
    binaries.locate("helm") is None, reason="helm is not built; `python -m bertjob_local.binaries` builds it"
)

EVERYTHING = (
    "operator.replicas=2",
    "metrics.serviceMonitor.create=true",
    "networkPolicy.create=true",
    "networkPolicy.namespaces={team}",
    "operator.scratch=1Gi",
    "imagePullSecrets[0].name=registry",
)


def _container(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    pod = only(manifests, "Deployment")["spec"]["template"]["spec"]
    container: dict[str, Any] = pod["containers"][0]
    return container


def _options(container: dict[str, Any]) -> Any:
    module = ["-m", "bertjob_operator"]
    assert container["command"][:3] == [commands.PYTHON, *module]
    return program.arguments(container["command"][3:])


def _env(container: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in container["env"] if "value" in item}


def test_lint() -> None:
    """Helm's own linter has nothing against the chart."""
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


def test_generated_files_are_current() -> None:
    """What comes from the contract was written from the contract as it is; ``python charts/generate.py`` does it."""
    path = CHART.parent / "generate.py"
    spec = importlib.util.spec_from_file_location("generate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before

    for name, value in module.contents().items():
        assert (module.FILES / name).read_text() == module.text(value), f"{name}: run python charts/generate.py"


def test_crd() -> None:
    """The installed CustomResourceDefinition is the one that the types give."""
    wanted = bert_job_crd()
    crd = only(rendered(), "CustomResourceDefinition")

    assert (crd["metadata"]["name"], crd["spec"]) == (wanted["metadata"]["name"], wanted["spec"])
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "annotations" not in only(rendered("crds.keep=false"), "CustomResourceDefinition")["metadata"]
    assert not [each for each in rendered("crds.install=false") if each["kind"] == "CustomResourceDefinition"]


def test_serving_runtime() -> None:
    """The runtime runs the predictor's command under the names that the operator writes into InferenceServices."""
    runtime = only(rendered(), "ClusterServingRuntime")
    container = runtime["spec"]["containers"][0]
    command = commands.predictor()

    assert runtime["metadata"]["name"] == names.SERVING_RUNTIME
    assert runtime["spec"]["supportedModelFormats"][0]["name"] == names.MODEL_FORMAT
    assert container["command"] == list(command.argv)
    assert container["env"] == [dict(item) for item in command.env]
    assert [port["containerPort"] for port in container["ports"]] == [names.PREDICTOR_PORT]
    assert container["readinessProbe"]["httpGet"] == {
        "path": "/v2/models/{{.Name}}/ready",
        "port": names.PREDICTOR_PORT,
    }


def test_without_kserve() -> None:
    """A cluster without KServe gets everything but the runtime."""
    assert {"ClusterServingRuntime"} == {each["kind"] for each in rendered()} - {
        each["kind"] for each in rendered(api=())
    }


def test_operator_command() -> None:
    """The operator's program accepts its command line, and leads by a Lease that its role allows."""
    manifests = rendered(release="other")
    options = _options(_container(manifests))
    lease = only(manifests, "Role")["rules"][1]

    assert options.service_account == Path("/var/run/secrets/kubernetes.io/serviceaccount")
    assert (options.health_host, options.lease_namespace) == ("$(POD_IP)", "$(POD_NAMESPACE)")
    assert not options.no_leader_election
    assert lease["resourceNames"] == [options.lease_name]
    assert _container(manifests)["ports"][0]["containerPort"] == options.health_port


def test_operator_settings() -> None:
    """Each value reaches the setting that it is for."""
    digest = f"sha256:{'0' * 64}"
    given = (
        f"images.trainer.digest={digest}",
        "images.trainer.repository=registry.example/trainer",
        "imagePullPolicy=Always",
        "watchNamespace=team",
        "operator.workers=3",
        "operator.progressIntervalSeconds=4",
        "operator.nodeGraceSeconds=60",
        "operator.stallSeconds=70",
        "operator.sharedMemory=1Gi",
        "operator.scratch=5Gi",
    )
    found = settings.from_env(_env(_container(rendered(*given))))
    usual = settings.from_env(_env(_container(rendered())))

    assert found.platform.trainer_image == f"registry.example/trainer@{digest}"
    assert found.platform.image_pull_policy == "Always"
    assert found.platform.node_grace.total_seconds() == 60
    assert found.platform.stall_after.total_seconds() == 70
    assert (found.platform.shared_memory, found.platform.scratch) == ("1Gi", "5Gi")
    assert (found.namespace, found.workers, found.progress_interval.total_seconds()) == ("team", 3, 4)
    assert not found.local_files
    assert usual == settings.from_env({"BERTJOB_OPERATOR_TRAINER_IMAGE": f"bertjob-trainer:{_app_version()}"})


def _app_version() -> str:
    text = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("pod_of", ["Deployment", "ClusterServingRuntime"])
def test_restricted_pods(pod_of: str) -> None:
    """Every container is what the restricted Pod Security Standard asks for, and writes to its own volume only."""
    spec = only(rendered(*EVERYTHING), pod_of)["spec"]
    pod = spec["template"]["spec"] if pod_of == "Deployment" else spec

    for container in pod["containers"]:
        security = container["securityContext"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert (security["allowPrivilegeEscalation"], security["runAsNonRoot"]) == (False, True)
        assert security["readOnlyRootFilesystem"]
        assert [mount["mountPath"] for mount in container["volumeMounts"]] == [names.SCRATCH_DIR]
        assert container["resources"]["limits"]["memory"]
        assert container["resources"]["requests"]
    assert pod["volumes"] == [{"name": "scratch", "emptyDir": {}}]


@pytest.mark.parametrize("scope", ["", "team"])
def test_rights_are_few(scope: str) -> None:
    """No role has a wildcard, reads Secrets or may hand out rights, and with one namespace only nodes are cluster-wide."""
    manifests = rendered(f"watchNamespace={scope}")
    roles = [each for each in manifests if each["kind"] in ("Role", "ClusterRole")]
    rules = [rule for role in roles for rule in role["rules"]]
    bound = [each["roleRef"]["name"] for each in manifests if each["kind"] == "ClusterRoleBinding"]

    assert len(roles) == 5
    for rule in rules:
        assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]
        assert not {"secrets", "pods/exec", "roles", "clusterroles"} & set(rule["resources"])
        assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
    assert bound == (["bertjob-operator-nodes"] if scope else ["bertjob-operator", "bertjob-operator-nodes"])


def test_more_than_one_operator() -> None:
    """Two replicas get a disruption budget; a spread constraint counts the operator's pods."""
    spread = "operator.topologySpreadConstraints[0]"
    values = (f"{spread}.maxSkew=1", f"{spread}.topologyKey=zone", f"{spread}.whenUnsatisfiable=ScheduleAnyway")
    deployment = only(rendered(*values, "operator.replicas=2"), "Deployment")["spec"]
    constraint = deployment["template"]["spec"]["topologySpreadConstraints"][0]

    assert only(rendered("operator.replicas=2"), "PodDisruptionBudget")["spec"]["minAvailable"] == 1
    assert not [each for each in rendered() if each["kind"] == "PodDisruptionBudget"]
    assert constraint["labelSelector"] == deployment["selector"]


def test_monitoring() -> None:
    """A ServiceMonitor selects the metrics Service, and is made only where Prometheus' operator is."""
    manifests = rendered(*EVERYTHING, api=(KSERVE, PROMETHEUS))
    service = only(manifests, "Service")
    monitor = only(manifests, "ServiceMonitor")["spec"]
    pod = only(manifests, "Deployment")["spec"]["template"]

    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert not [each for each in rendered(*EVERYTHING) if each["kind"] == "ServiceMonitor"]


@pytest.mark.parametrize(
    "value",
    [
        "operator.replica=2",
        "images.operator.digest=latest",
        "operator.logLevel=LOUD",
        "imagePullPolicy=Sometimes",
        "operator.workers=0",
        "watchNamespace=Team",
        "operator.sharedMemory=lots",
        "extra=1",
    ],
)
def test_values_are_checked(value: str) -> None:
    """A misspelled or impossible value is refused, and the message names it."""
    with pytest.raises(HelmError, match=value.partition("=")[0].rpartition(".")[2]):
        rendered(value)


def test_every_value_is_described() -> None:
    """Each value has a sentence beside it, and a place in the schema."""
    lines = (CHART / "values.yaml").read_text().splitlines()
    told = {line.strip().partition(":")[0] for before, line in pairwise(lines) if "# -- " in before}
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def leaves(value: dict[str, Any]) -> set[str]:
        nested = {key for key, item in value.items() if isinstance(item, dict) and item and key != "resources"}
        return (value.keys() - nested).union(*(leaves(value[key]) for key in nested))

    assert leaves(values) <= told
