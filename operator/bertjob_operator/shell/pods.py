"""Pods as a plan sees them. A job may have ten thousand: a change of one costs no look at the others."""

from bisect import bisect_left, insort

from bertjob_api.cluster import Object
from bertjob_operator.plan import reading
from bertjob_operator.plan.children import Pod, Pods
from bertjob_operator.runtime.store import Store


class PodBook:
    """
    Keeps the pods of each Job in order.

    Args:
        there: the store that they come from.

    """

    def __init__(self, there: Store) -> None:
        self._crews: dict[str, _Crew] = {}
        """By uid of the owner; those that have no pods any more are forgotten."""
        there.listen(self._note)

    def __len__(self) -> int:
        return len(self._crews)

    def of(self, owner: str) -> Pods:
        """Return the pods of the Job with the uid *owner*, by index and name; the same object while they stay as they are."""
        crew = self._crews.get(owner)
        return crew.pods() if crew is not None else Pods()

    def _note(self, old: Object | None, new: Object | None) -> None:
        for owner in _owners(old) - _owners(new):
            assert old is not None
            self._crews[owner].forget(old)
            if not self._crews[owner]:
                del self._crews[owner]
        for owner in _owners(new):
            assert new is not None
            self._crews.setdefault(owner, _Crew()).note(new, instead_of=old)


class _Crew:
    """The pods of one owner; read when they are asked for, since a pod may change often between two looks."""

    def __init__(self) -> None:
        self._there: dict[str, Object] = {}
        """By uid."""
        self._changed: set[str] = set()
        """Uids of those to be read."""
        self._read: dict[str, Pod] = {}
        self._ordered: list[Pod] = []
        self._pods = Pods()

    def __len__(self) -> int:
        return len(self._there)

    def note(self, new: Object, *, instead_of: Object | None) -> None:
        """Take in a pod as it is now."""
        if instead_of is not None and _uid(instead_of) != _uid(new):
            self.forget(instead_of)
        self._there[_uid(new)] = new
        self._changed.add(_uid(new))

    def forget(self, old: Object) -> None:
        """Leave out a pod that is gone."""
        self._there.pop(_uid(old), None)
        self._changed.add(_uid(old))

    def pods(self) -> Pods:
        """Return all, as they are now."""
        moved = [uid for uid in self._changed if self._move(uid)]
        self._changed.clear()
        if moved:
            self._pods = Pods(self._ordered)
        return self._pods

    def _move(self, uid: str) -> bool:
        """Put a pod where it belongs, and tell whether that made a difference: much of what changes is read by no rule."""
        value, old = self._there.get(uid), self._read.get(uid)
        new = reading.pod(value) if value is not None else None
        if new == old:
            return False
        if old is not None:
            del self._read[uid], self._ordered[bisect_left(self._ordered, _place(old), key=_place)]
        if new is not None:
            self._read[uid] = new
            insort(self._ordered, new, key=_place)
        return True


def _owners(value: Object | None) -> set[str]:
    return {owner["uid"] for owner in value["metadata"].get("ownerReferences") or ()} if value is not None else set()


def _uid(value: Object) -> str:
    uid: str = value["metadata"]["uid"]
    return uid


def _place(pod: Pod) -> tuple[bool, int, str, str]:
    return pod.index is None, pod.index or 0, pod.name, pod.uid
