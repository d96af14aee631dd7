"""What is built from which Go module; versions stand in the ``go.mod`` files alone."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Binary:
    """One program of a module set."""

    name: str
    """File name, as the programs themselves are called in their releases."""
    package: str
    """Go import path of its main package."""
    version_argv: tuple[str, ...] | None
    """Arguments that print its version; None: it cannot say, so one on PATH is never used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleSet:
    """One pinned Go module and what we take from it."""

    name: str
    """Folder of its go.mod, beside this file."""
    module: str
    binaries: tuple[Binary, ...]
    stamps: tuple[str, ...] = ()
    """Linker ``-X`` values; may use {version}, {major}, {minor} and {kubernetes_minor}."""
    data: tuple[str, ...] = ()
    """Folders of the module that are kept beside the binaries."""
    go_cache_gb: float
    """Growth of Go's module and build caches when this set alone is built cold, measured."""
    optional: bool = False
    """Built only when named: no part of a local cluster, but a neighbour that slow tests run beside one."""

    @property
    def folder(self) -> Path:
        """Folder of go.mod, go.sum and tools.go."""
        return HERE / self.name


_K8S_VERSION = "k8s.io/component-base/version"

MODULE_SETS = (
    ModuleSet(
        name="etcd",
        module="go.etcd.io/etcd/server/v3",
        binaries=(Binary("etcd", "go.etcd.io/etcd/server/v3", ("--version",)),),
        go_cache_gb=0.8,
    ),
    ModuleSet(
        name="kubernetes",
        module="k8s.io/kubernetes",
        binaries=(
            Binary("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", ("--version",)),
            Binary("kubectl", "k8s.io/kubernetes/cmd/kubectl", ("version", "--client")),
            Binary(
                "kube-controller-manager",
                "k8s.io/kubernetes/cmd/kube-controller-manager",
                ("--version",),
            ),
            Binary("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", ("--version",)),
        ),
        # Without these, clients see v0.0.0 and refuse to work with the server.
        stamps=(
            f"{_K8S_VERSION}.gitVersion={{version}}",
            f"{_K8S_VERSION}.gitMajor={{major}}",
            f"{_K8S_VERSION}.gitMinor={{minor}}",
            f"{_K8S_VERSION}.gitTreeState=clean",
        ),
        go_cache_gb=3.7,
    ),
    ModuleSet(
        name="versitygw",
        module="github.com/versity/versitygw",
        binaries=(Binary("versitygw", "github.com/versity/versitygw/cmd/versitygw", ("--version",)),),
        stamps=("main.Version={version}",),
        go_cache_gb=1.1,
    ),
    ModuleSet(
        name="kserve",
        module="github.com/kserve/kserve",
        binaries=(Binary("kserve-manager", "github.com/kserve/kserve/cmd/manager", None),),
        data=("charts/kserve-crd", "charts/kserve-resources"),
        go_cache_gb=3.0,
    ),
    ModuleSet(
        name="helm",
        module="helm.sh/helm/v3",
        binaries=(Binary("helm", "helm.sh/helm/v3/cmd/helm", ("version", "--short")),),
        # `helm template` renders for this version; unstamped it says 1.20, which charts refuse.
        stamps=(
            "helm.sh/helm/v3/internal/version.version={version}",
            "helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1",
            "helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor={kubernetes_minor}",
            "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1",
            "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor={kubernetes_minor}",
        ),
        go_cache_gb=1.5,
    ),
    ModuleSet(
        name="kubeflow-trainer",
        module="github.com/kubeflow/trainer/v2",
        binaries=(
            Binary("trainer-controller-manager", "github.com/kubeflow/trainer/v2/cmd/trainer-controller-manager", None),
        ),
        data=("manifests/base",),
        go_cache_gb=2.5,
        optional=True,
    ),
    ModuleSet(
        name="jobset",
        module="sigs.k8s.io/jobset",
        binaries=(Binary("jobset-manager", "sigs.k8s.io/jobset", None),),
        data=("config/components/crd/bases", "config/components/webhook"),
        go_cache_gb=1.5,
        optional=True,
    ),
    ModuleSet(
        name="kueue",
        module="sigs.k8s.io/kueue",
        binaries=(Binary("kueue-manager", "sigs.k8s.io/kueue/cmd/kueue", None),),
        data=("charts/kueue",),
        go_cache_gb=3.0,
        optional=True,
    ),
)

BINARIES = tuple(binary.name for each in MODULE_SETS if not each.optional for binary in each.binaries)
"""Every binary of a local cluster, in the order in which they are built."""
OPTIONAL = tuple(binary.name for each in MODULE_SETS if each.optional for binary in each.binaries)
"""Binaries that are built only when named."""


def set_of(binary: str) -> ModuleSet:
    """Return the module set that *binary* is built from; ValueError for an unknown name."""
    for each in MODULE_SETS:
        if any(binary == one.name for one in each.binaries):
            return each
    msg = f"binary {binary!r} is unknown; expected one of {', '.join((*BINARIES, *OPTIONAL))}"
    raise ValueError(msg)


def binary_of(name: str) -> Binary:
    """Return the binary called *name*; ValueError for an unknown name."""
    return next(one for one in set_of(name).binaries if one.name == name)


def pinned_version(module: str, *, go_mod: str) -> str:
    """Return the version, ``v`` included, at which the text of a go.mod requires *module*."""
    found = re.search(rf"^(?:require )?\s*{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    assert found is not None, f"go.mod does not require {module}"
    return found.group(1)


def version_of(module_set: ModuleSet) -> str:
    """Return the pinned version of a module set, such as ``v1.36.3``."""
    return pinned_version(module_set.module, go_mod=(module_set.folder / "go.mod").read_text())


def minor_of(version: str) -> tuple[int, int] | None:
    """Return (major, minor) of the first dotted number in *version*; None when it has none."""
    found = re.search(r"(\d+)\.(\d+)\.\d+", version)
    return (int(found.group(1)), int(found.group(2))) if found else None


def linker_flags(module_set: ModuleSet) -> str:
    """Return the value of ``-ldflags``: no symbol tables, and the version stamped in."""
    version = version_of(module_set)
    numbers = minor_of(version)
    kubernetes = minor_of(version_of(set_of("kubectl")))
    assert numbers is not None
    assert kubernetes is not None
    words = {
        "version": version,
        "major": numbers[0],
        "minor": numbers[1],
        "kubernetes_minor": kubernetes[1],
    }
    return " ".join(("-s -w", *(f"-X {stamp.format(**words)}" for stamp in module_set.stamps)))


def digest(module_set: ModuleSet) -> str:
    """Return 12 hex digits that change with anything that can change the binaries."""
    state = hashlib.sha256()
    for name in ("go.mod", "go.sum", "tools.go"):
        state.update((module_set.folder / name).read_bytes())
    state.update(repr((module_set.binaries, module_set.data)).encode())
    state.update(linker_flags(module_set).encode())
    return state.hexdigest()[:12]
