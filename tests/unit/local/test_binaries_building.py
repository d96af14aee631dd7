"""Finding and building binaries, with a stand-in for the Go command."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bertjob_local.binaries import BuildError, build, building, places, sets

FAKE_GO = """#!/bin/sh
echo "$1" >> {log}
case "$1" in
version) echo "go version go1.99.0 linux/amd64" ;;
env) echo {modules} ;;
list) echo {module} ;;
build)
  while [ "$1" != -o ]; do shift; done
  printf '#!/bin/sh\\necho built\\n' > "$2"
  chmod +x "$2"
  test ! -e {broken} || {{ echo "undefined: x" >&2; exit 1; }} ;;
esac
"""


def _program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def go_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a stand-in for Go on PATH, empty caches elsewhere; returns the log of its calls."""
    module = tmp_path / "module"
    for chart in ("kserve-crd", "kserve-resources"):
        (module / "charts" / chart).mkdir(parents=True)
        (module / "charts" / chart / "Chart.yaml").write_text(chart)
        (module / "charts" / chart / "Chart.yaml").chmod(0o444)
    (module / "LICENSE").write_text("licence")
    log = tmp_path / "log"
    places_in = {"log": log, "modules": tmp_path / "modules", "module": module, "broken": tmp_path / "broken"}
    _program(tmp_path / "path" / "go", FAKE_GO.format(**places_in))
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    monkeypatch.setenv("BERTJOB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    # Room is checked elsewhere; here a small disk must not matter.
    monkeypatch.setattr(building, "WARM_SET_GB", 0.0)
    for each in sets.MODULE_SETS:
        archive = f"{tmp_path}/modules/cache/download/{each.module}/@v/{sets.version_of(each)}.zip"
        Path(archive).parent.mkdir(parents=True)
        Path(archive).touch()
    return log


def test_order_of_places(go_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An assets folder wins over PATH, PATH over the cache, and nothing anywhere is None."""
    version = sets.version_of(sets.set_of("etcd"))
    assert places.locate("etcd") is None

    cached = _program(places.set_dir(sets.set_of("etcd")) / "etcd", "#!/bin/sh\n")
    assert places.locate("etcd") == cached

    on_path = _program(tmp_path / "path" / "etcd", f"#!/bin/sh\necho etcd Version: {version[1:]}\n")
    assert places.locate("etcd") == on_path

    in_assets = _program(tmp_path / "assets" / "etcd", "#!/bin/sh\n")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(in_assets.parent))
    assert places.locate("etcd") == in_assets


@pytest.mark.parametrize("said", ["echo v1.2.3", "echo unknown", "exit 1"])
def test_another_version_on_path_is_not_used(go_log: Path, tmp_path: Path, said: str):
    """A program on PATH with another minor version, or that says none, is passed over."""
    _program(tmp_path / "path" / "helm", f"#!/bin/sh\n{said}\n")

    assert places.locate("helm") is None


def test_build_makes_what_is_missing_and_only_that(go_log: Path):
    """Binaries and charts appear, a second build compiles nothing, and copies can be removed."""
    lines: list[str] = []
    found = build(("kserve-manager", "kubectl"), say=lines.append)

    assert set(found) == {"kserve-manager", "kubectl"}
    assert subprocess.run((found["kubectl"],), capture_output=True, check=True).stdout == b"built\n"
    crds = places.locate_data("charts/kserve-crd")
    assert crds is not None
    assert (crds / "Chart.yaml").read_text() == "kserve-crd"
    assert os.access(crds / "Chart.yaml", os.W_OK)
    assert any("kubectl: built in" in line for line in lines)

    built = go_log.read_text().count("build")
    assert build(("kserve-manager", "kubectl"), say=lines.append) == found
    assert go_log.read_text().count("build") == built


def test_a_failed_build_leaves_nothing(go_log: Path, tmp_path: Path):
    """The compiler's words reach the user, and no half-made binary is ever found."""
    (tmp_path / "broken").touch()

    with pytest.raises(BuildError, match="undefined: x"):
        build(("etcd",), say=lambda _: None)

    assert places.locate("etcd") is None
    assert not list(places.set_dir(sets.set_of("etcd")).iterdir())


def test_two_builds_at_once_compile_once(go_log: Path):
    """A second process waits for the first and then finds everything made."""
    code = "from bertjob_local.binaries import build; build(('etcd', 'helm'), say=print)"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    both = [subprocess.Popen((sys.executable, "-c", code), env=env, stdout=subprocess.DEVNULL) for _ in range(2)]

    assert [each.wait(timeout=60) for each in both] == [0, 0]
    assert go_log.read_text().split().count("build") == 2


def test_no_room(go_log: Path, monkeypatch: pytest.MonkeyPatch):
    """A disk without room is refused before the compiler runs, with need, place and remedy."""
    monkeypatch.setattr(building, "WARM_SET_GB", 1e6)

    with pytest.raises(BuildError, match=r"needs about 1000000\.0 GB and /.* GB free; make room"):
        build(("etcd",), say=lambda _: None)

    assert "build" not in go_log.read_text()


def test_cold_sets_need_more_room(tmp_path: Path):
    """A module that Go has yet to download counts with all that it brings."""
    etcd = sets.set_of("etcd")
    assert building.space_needed_gb((etcd,), module_cache=tmp_path) == etcd.go_cache_gb

    archive = tmp_path / "cache" / "download" / etcd.module / "@v" / f"{sets.version_of(etcd)}.zip"
    archive.parent.mkdir(parents=True)
    archive.touch()
    assert building.space_needed_gb((etcd,), module_cache=tmp_path) == building.WARM_SET_GB
