"""The pinned module sets."""

import dataclasses

import pytest

from bertjob_local.binaries import sets, toolchain


@pytest.mark.parametrize("module_set", sets.MODULE_SETS, ids=lambda each: each.name)
def test_every_set_is_complete(module_set: sets.ModuleSet):
    """Each set pins its module, has checksums, and names in tools.go exactly what is built."""
    tools = (module_set.folder / "tools.go").read_text()
    imported = {line.split('"')[1] for line in tools.splitlines() if line.strip().startswith("_ ")}

    assert sets.version_of(module_set).startswith("v")
    assert f"{module_set.module} {sets.version_of(module_set)} h1:" in (module_set.folder / "go.sum").read_text()
    assert imported == {binary.package for binary in module_set.binaries}


def test_pinned_version_of_the_module_itself():
    """The version is the one of the whole module path, in a block or on its own line."""
    go_mod = "require a.b/c/v2 v2.1.0\n\nrequire (\n\ta.b/c v1.0.0\n\ta.b/c/d v3.0.0 // indirect\n)\n"

    assert sets.pinned_version("a.b/c", go_mod=go_mod) == "v1.0.0"
    assert sets.pinned_version("a.b/c/v2", go_mod=go_mod) == "v2.1.0"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Kubernetes v1.36.3", (1, 36)),
        ("Client Version: v1.32.4-x\nKustomize Version: v5.5.0", (1, 32)),
        ("etcd Version: 3.6.16\nGo Version: go1.26.8", (3, 6)),
        ("v3.22.0+g1234", (3, 22)),
        ("no number", None),
    ],
)
def test_minor_of(said: str, expected: tuple[int, int] | None):
    """Major and minor come from the first full version in what a program says of itself."""
    assert sets.minor_of(said) == expected


def test_versions_are_stamped():
    """Kubernetes says its version, and helm renders for that Kubernetes."""
    kubernetes, helm = sets.linker_flags(sets.set_of("kubectl")), sets.linker_flags(sets.set_of("helm"))

    assert f"version.gitVersion={sets.version_of(sets.set_of('kubectl'))}" in kubernetes
    assert "version.gitMinor=36" in kubernetes
    assert "chartutil.k8sVersionMinor=36" in helm


def test_digest_follows_the_recipe_alone():
    """Another linker stamp or binary makes another cache folder; a new guess of disk space does not."""
    etcd = sets.set_of("etcd")

    assert sets.digest(etcd) == sets.digest(dataclasses.replace(etcd, go_cache_gb=99))
    assert sets.digest(etcd) != sets.digest(dataclasses.replace(etcd, stamps=("main.x=1",)))
    assert sets.digest(etcd) != sets.digest(dataclasses.replace(etcd, binaries=()))


def test_unknown_binary():
    """An unknown name is answered with the known ones."""
    with pytest.raises(ValueError, match=r"'etcdx' is unknown; expected one of etcd, "):
        sets.set_of("etcdx")


def test_go_versions():
    """Versions of Go compare as numbers, and a command that says none is too old."""
    assert toolchain.go_version("go version go1.26.8 linux/amd64") == (1, 26, 8)
    assert toolchain.go_version("go version go1.9.1 linux/amd64") < toolchain.wanted()
    assert toolchain.go_version("") < toolchain.wanted()
    assert toolchain.directive("module x\n\ngo 1.25.8\n") == (1, 25, 8)
