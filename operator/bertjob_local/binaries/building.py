"""Build the missing binaries: one at a time, each appearing in the cache whole or not at all."""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bertjob_local.binaries import places, sets, toolchain

WARM_SET_GB = 0.6
"""Space that building needs when the module is already in Go's cache: links and binaries."""


class BuildError(RuntimeError):
    """A binary could not be built; the message ends with the compiler's last words."""


def build(names: tuple[str, ...] = sets.BINARIES, *, say: Callable[[str], None]) -> dict[str, Path]:
    """
    Return the path of each binary in *names*, after building those that nothing provides.

    Args:
        names: names of binaries.
        say: gets one line of progress at a time.

    Raises:
        BuildError: no space, or the Go compiler failed.
        ToolchainError: no Go and no way to install one.

    """
    if _todo(names):
        with _one_build_at_a_time(say):
            todo = _todo(names)  # the build we waited for may have made some
            if todo:
                _build_all(todo, say)
    found = {name: places.locate(name) for name in names}
    return {name: path for name, path in found.items() if path is not None}


def build_argv(module_set: sets.ModuleSet, *, go: Path, binary: sets.Binary, to: Path) -> list[str]:
    """Return the Go command that builds one binary; it writes nothing beside *to*."""
    flags = ("-mod=readonly", "-buildvcs=false", "-trimpath")
    stamps = ("-ldflags", sets.linker_flags(module_set))
    return [str(go), "build", *flags, *stamps, "-o", str(to), binary.package]


def space_needed_gb(todo: tuple[sets.ModuleSet, ...], *, module_cache: Path) -> float:
    """Return the disk space that building *todo* may take, in GB."""
    return sum(each.go_cache_gb if _is_cold(each, module_cache) else WARM_SET_GB for each in todo)


def drop_go_caches(say: Callable[[str], None]) -> None:
    """Empty Go's module and build caches: all of this user's, not only what we put there."""
    go = toolchain.find_go(say)
    subprocess.run((go, "clean", "-cache", "-modcache"), check=True)
    say("Go's module and build caches are empty now; the binaries are kept")


def _todo(names: tuple[str, ...]) -> tuple[sets.ModuleSet, ...]:
    """Return the module sets with something to build: a binary, or their data."""
    wanted = [each for each in sets.MODULE_SETS if any(one.name in names for one in each.binaries)]
    return tuple(each for each in wanted if _missing_binaries(each, names) or _missing_data(each))


def _missing_binaries(module_set: sets.ModuleSet, names: tuple[str, ...]) -> list[sets.Binary]:
    mine = (one for one in module_set.binaries if one.name in names)
    return [one for one in mine if places.locate(one.name) is None]


def _missing_data(module_set: sets.ModuleSet) -> list[str]:
    return [folder for folder in module_set.data if places.locate_data(folder) is None]


def _build_all(todo: tuple[sets.ModuleSet, ...], say: Callable[[str], None]) -> None:
    go = toolchain.find_go(say)
    module_cache, build_cache = (Path(_go_env(go, key)) for key in ("GOMODCACHE", "GOCACHE"))
    _check_space(space_needed_gb(todo, module_cache=module_cache), folders=(module_cache,))
    say(
        f"building {', '.join(each.name for each in todo)}; all of them take about 11 minutes on 2 cores, less when Go's caches are warm"
    )
    for each in todo:
        _build_set(each, go=go, say=say)
    say(
        f"Go keeps up to 10 GB in {module_cache} and {build_cache} for the next build; "
        "`python -m bertjob_local.binaries --drop-go-caches` empties both"
    )


def _build_set(module_set: sets.ModuleSet, *, go: Path, say: Callable[[str], None]) -> None:
    folder = places.set_dir(module_set)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as name:
        fresh = Path(name)
        for binary in _missing_binaries(module_set, tuple(b.name for b in module_set.binaries)):
            begin = time.monotonic()
            say(f"{binary.name} {sets.version_of(module_set)}: building")
            argv = build_argv(module_set, go=go, binary=binary, to=fresh / binary.name)
            _run_go(argv, folder=module_set.folder)
            (fresh / binary.name).replace(folder / binary.name)
            say(f"{binary.name}: built in {time.monotonic() - begin:.0f} s")
        for data in _missing_data(module_set):
            _copy_data(module_set, go=go, data=data, fresh=fresh)


def _copy_data(module_set: sets.ModuleSet, *, go: Path, data: str, fresh: Path) -> None:
    argv = [str(go), "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module_set.module]
    module_dir = Path(_run_go(argv, folder=module_set.folder).strip())
    to = places.set_dir(module_set) / data
    to.parent.mkdir(parents=True, exist_ok=True)
    # copyfile, not copy2: Go's module cache is read-only, and a copy must be removable.
    copied = shutil.copytree(module_dir / data, fresh / "data", copy_function=shutil.copyfile)
    for path in (copied, *copied.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    copied.replace(to)
    shutil.copyfile(module_dir / "LICENSE", places.set_dir(module_set) / "LICENSE")


def _run_go(argv: list[str], *, folder: Path) -> str:
    own = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    done = subprocess.run(argv, cwd=folder, env=os.environ | own, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"`{' '.join(argv)}` in {folder} ended {done.returncode}: {done.stderr[-3000:]}"
        raise BuildError(msg)
    return done.stdout


def _go_env(go: Path, key: str) -> str:
    return subprocess.run((go, "env", key), capture_output=True, text=True, check=True).stdout.strip()


def _is_cold(module_set: sets.ModuleSet, module_cache: Path) -> bool:
    """Return whether Go has yet to download the module itself, hence probably all of its needs."""
    versions = module_cache / "cache" / "download" / module_set.module / "@v"
    return not (versions / f"{sets.version_of(module_set)}.zip").exists()


def _check_space(needed_gb: float, *, folders: tuple[Path, ...]) -> None:
    for folder in (places.cache_root(), *folders):
        there = next(each for each in (folder, *folder.parents) if each.exists())
        free_gb = shutil.disk_usage(there).free / 1e9
        if free_gb < needed_gb:
            msg = (
                f"building the control plane needs about {needed_gb:.1f} GB and {there} has "
                f"{free_gb:.1f} GB free; make room, or point GOMODCACHE, GOCACHE and "
                "BERTJOB_CACHE at a larger disk"
            )
            raise BuildError(msg)


@contextmanager
def _one_build_at_a_time(say: Callable[[str], None]) -> Iterator[None]:
    folder = places.cache_root() / "bin"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = (
            f"{folder}: the folder for binaries cannot be made ({error.strerror}); name another one with BERTJOB_CACHE"
        )
        raise BuildError(msg) from error
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another build of the same binaries")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
