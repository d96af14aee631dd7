"""What counts in a checkpoint folder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjob_api.layout import step_folder
from bertjob_api.manifest import MANIFEST, CheckpointManifest, CorruptError, FileEntry
from bertjob_storage.protocol import Entry
from bertjob_trainer.checkpoint import layout
from bertjob_trainer.checkpoint.layout import Pointer

COMMITTED = {MANIFEST: 1}


def test_folders_are_grouped_by_step() -> None:
    """Only files of step folders count; LATEST and strangers do not."""
    names = (f"{step_folder(5)}/a", f"{step_folder(5)}/{MANIFEST}", "LATEST", "step-x/a", f"{step_folder(7)}/b")
    entries = [Entry(f"s3://b/root/{name}", 3, "") for name in names]
    assert layout.by_step(entries, root="s3://b/root") == {5: {"a": 3, MANIFEST: 3}, 7: {"b": 3}}


@given(
    folders=st.dictionaries(st.integers(0, 50), st.sampled_from([COMMITTED, {"shard": 1}]), max_size=20),
    keep=st.integers(1, 5),
    damaged=st.sets(st.integers(0, 50), max_size=5),
    pinned=st.sets(st.integers(0, 50), max_size=2),
)
def test_retention_keeps_what_may_be_needed(
    folders: dict[int, dict[str, int]], keep: int, damaged: set[int], pinned: set[int]
) -> None:
    """The newest sound commits, pinned ones and everything newer stay; applying retention twice deletes nothing more."""
    gone = layout.expired(folders, keep=keep, damaged=damaged, pinned=pinned)
    sound = [step for step in layout.committed(folders) if step not in damaged]
    kept = {*sound[:keep], *(pinned & set(sound))}
    assert not set(gone) & kept
    assert all(step < sound[0] for step in gone)
    left = {step: files for step, files in folders.items() if step not in gone}
    assert layout.expired(left, keep=keep, damaged=damaged, pinned=pinned) == ()
    assert {step for step in layout.committed(left) if step not in damaged} == kept


@pytest.mark.parametrize(
    ("current", "new", "damaged", "moves"),
    [
        (None, (0, 5), (), True),
        ((0, 5), (0, 6), (), True),
        ((0, 5), (0, 5), (), False),
        ((0, 6), (0, 5), (), False),
        ((0, 6), (1, 5), (), True),
        ((1, 5), (0, 6), (), False),
        ((0, 6), (0, 5), (6,), True),
    ],
)
def test_pointer_moves_forward(
    current: tuple[int, int] | None, new: tuple[int, int], damaged: tuple[int, ...], moves: bool
) -> None:
    """A newer attempt or a later step moves LATEST; an older attempt never does; a damaged step may be left."""
    before = None if current is None else Pointer(attempt=current[0], step=current[1])
    assert layout.moves(before, Pointer(attempt=new[0], step=new[1]), damaged=damaged) is moves


def test_pointer_round_trip() -> None:
    """A pointer comes back from its JSON, and garbage is None."""
    pointer = Pointer(attempt=2, step=70)
    assert Pointer.from_json(pointer.to_json()) == pointer
    for data in (b"", b"70", b"{}", b"[1]", b'{"attempt":"x","step":1}'):
        assert Pointer.from_json(data) is None


@given(sizes=st.lists(st.integers(0, 30), max_size=30), limit=st.integers(1, 20))
def test_shards_hold_everything_once(sizes: list[int], limit: int) -> None:
    """Every tensor is in one shard, in order, and no shard of several is over the limit."""
    named = {f"t{index}": size for index, size in enumerate(sizes)}
    groups = layout.shards(named, limit_bytes=limit)
    assert [name for group in groups for name in group] == list(named)
    assert all(len(group) == 1 or sum(named[name] for name in group) <= limit for group in groups)


def manifest(**changes: object) -> CheckpointManifest:
    fields: dict[str, object] = {
        "step": 5,
        "total_steps": 9,
        "run": "run-a",
        "attempt": 0,
        "world_size": 2,
        "samples_seen": 40,
        "files": (FileEntry(path="a", sha256="00", size_bytes=3),),
    }
    return CheckpointManifest(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "files", "part"),
    [
        (manifest().to_json(), {"a": 2}, "a: has 2 bytes, expected 3"),
        (manifest().to_json(), {}, "a: is missing"),
        (manifest(step=6).to_json(), {"a": 3}, "is of step 6, expected 5"),
        (manifest(run="run-b").to_json(), {"a": 3}, "belongs to run run-b, expected run-a"),
        (manifest().to_json() + b" ", {"a": 3}, "not spelled"),
        (manifest().to_json()[:-1], {"a": 3}, "is not JSON"),
        (b"{}", {"a": 3}, "expected a manifest of a checkpoint"),
    ],
)
def test_unusable_manifests_are_named(data: bytes, files: dict[str, int], part: str) -> None:
    """Each reason not to use a checkpoint is said."""
    with pytest.raises(CorruptError, match=part):
        layout.checked(data, step=5, run="run-a", files=files)


def test_sound_manifest_is_returned() -> None:
    """A folder that is what its manifest says is accepted."""
    assert layout.checked(manifest().to_json(), step=5, run="run-a", files={"a": 3}) == manifest()
