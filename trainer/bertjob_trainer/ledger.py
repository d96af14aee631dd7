"""
Which samples a model was really trained on: an entry for each step, chained, so that two runs can be compared. Pure.

A *tally* is a sum over the samples that processes computed, so it comes with the sum of the gradients: each process adds what it
has fed to the model, and a sample that was left out or computed twice changes the sum. It is cut into numbers that float32 adds
without rounding in any order.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

FOLDER: Final = "ledger"
HEAD: Final = f"{FOLDER}/HEAD"
"""Names the newest entry. Below the run's folder, as all names here."""
PARTS: Final = 6
_PART_BITS: Final = 12
_PART: Final = 1 << _PART_BITS
"""4,096 processes add numbers below this without leaving the whole numbers of float32."""
START: Final = "0" * 32
"""What the first entry follows."""


class BrokenError(ValueError):
    """A ledger that does not lead from its head back to the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One step that the model contains."""

    step: int
    """From 1."""
    samples: str
    """Their numbers in the data, in the order of the micro-batches: base64 of little-endian uint32."""
    tally: str
    """What the processes really computed, as ``written`` gives it."""
    world: int
    """Processes that computed it; two runs may differ in it and be equal."""
    before: str
    """Digest of the entry of the step before."""

    @property
    def digest(self) -> str:
        """Return the digest of this step and, through ``before``, of all steps up to it."""
        text = f"{self.before}/{self.step}/{self.samples}/{self.tally}"
        return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]

    @property
    def ids(self) -> tuple[int, ...]:
        """Return the numbers of the samples."""
        return tuple(np.frombuffer(base64.b64decode(self.samples), dtype="<u4").tolist())

    @property
    def is_proven(self) -> bool:
        """Return whether the processes computed each sample once and no other."""
        return self.tally == written(tally([np.array(self.ids, dtype=np.int64)], step=self.step))


@dataclass(slots=True)
class Ledger:
    """The newest entries of one lineage, oldest first."""

    head: str = START
    """Digest of the newest entry: what the next one follows."""
    entries: list[Entry] = field(default_factory=list)
    """Older ones are in storage."""

    def add(self, samples: NDArray[np.int64], sums: Sequence[float], *, step: int, world: int) -> None:
        """
        Write down one more step.

        Args:
            samples: the global batch.
            sums: ``PARTS`` numbers, the processes' tallies added up.
            step: number of the step, from 1.
            world: processes that computed it.

        """
        coded = base64.b64encode(samples.astype("<u4").tobytes()).decode("ascii")
        entry = Entry(step=step, samples=coded, tally=written(sums), world=world, before=self.head)
        self.head = entry.digest
        self.entries.append(entry)

    def since(self, step: int) -> "Ledger":
        """Return a copy without the entries up to a step."""
        return Ledger(self.head, [entry for entry in self.entries if entry.step > step])

    def forget(self, step: int) -> None:
        """Forget the entries up to *step*: they are in storage, with a checkpoint that is committed."""
        if self.entries and self.entries[0].step <= step:
            self.entries = [entry for entry in self.entries if entry.step > step]

    def to_json(self) -> dict[str, Any]:
        """Return the ledger as JSON values."""
        return {"head": self.head, "entries": [asdict(entry) for entry in self.entries]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the ledger; raises BrokenError for what is none."""
        try:
            return cls(str(value["head"]), [Entry(**each) for each in value["entries"]])
        except (KeyError, TypeError) as error:
            raise BrokenError(f"ledger: expected head and entries, got {str(value)[:80]}") from error


def tally(micro_batches: Sequence[NDArray[np.int64]], *, step: int) -> list[float]:
    """Return the tally of what one process has fed to the model in a step: ``PARTS`` whole numbers."""
    samples = np.concatenate(micro_batches) if micro_batches else np.zeros(0, dtype=np.int64)
    mixed = _mixed(samples.astype(np.uint64) + np.uint64(step << 32))
    parts = [(mixed >> np.uint64(_PART_BITS * part)) & np.uint64(_PART - 1) for part in range(PARTS - 1)]
    return [*(float(int(part.sum()) % _PART) for part in parts), float(len(samples) % _PART)]


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return numbers in which every bit depends on every bit of the given ones (Source: Steele et al. 2014, SplitMix64)."""
    with np.errstate(over="ignore"):
        numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
        numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def written(sums: Sequence[float]) -> str:
    """Return tallies that were added up as text."""
    return "".join(f"{int(number) % _PART:03x}" for number in sums)


def lineage(pieces: Iterable[Ledger], *, head: str) -> tuple[Entry, ...]:
    """
    Return the entries from the first step to the one whose digest is *head*.

    Pieces may overlap, and may hold steps that were done and lost: what does not lead to the head is left out.

    Raises:
        BrokenError: an entry on the way is missing or was changed.

    """
    known = {entry.digest: entry for piece in pieces for entry in piece.entries}
    found: list[Entry] = []
    while head != START:
        entry = known.get(head)
        if entry is None:
            where = f"before step {found[-1].step}" if found else "of the newest step"
            raise BrokenError(f"ledger: the entry {where} is missing or was changed; nothing is proven by the rest")
        found.append(entry)
        head = entry.before
    found.reverse()
    steps = [entry.step for entry in found]
    if steps != list(range(1, len(steps) + 1)):
        raise BrokenError(f"ledger: the steps are {steps[:3]} and so on, expected 1, 2, 3, ... without a gap")
    return tuple(found)


def difference(one: Sequence[Entry], other: Sequence[Entry]) -> str | None:
    """Return the first way in which two sequences of steps differ, as a sentence; None: they trained on the same samples."""
    for first, second in zip(one, other, strict=False):
        if first.samples != second.samples:
            place = next((n for n, (a, b) in enumerate(zip(first.ids, second.ids, strict=False)) if a != b), 0)
            parts = first.ids[place : place + 4], second.ids[place : place + 4]
            return f"step {first.step}: the samples differ from place {place} on: {parts[0]} and {parts[1]}"
        if first.tally != second.tally:
            return f"step {first.step}: the same samples were planned, and not the same ones were computed"
    if len(one) != len(other):
        return f"one has {len(one)} steps, the other {len(other)}"
    return None


def encode(value: Ledger) -> bytes:
    """Return the ledger as bytes."""
    return json.dumps(value.to_json(), separators=(",", ":")).encode("ascii")


def records(value: Ledger, *, since: int) -> dict[str, bytes]:
    """
    Return what is to be written below the run's folder, in this order: file name -> content.

    Args:
        value: the ledger.
        since: step whose checkpoint is committed; what led to it is in storage already.

    """
    new = value.since(since)
    if not new.entries:
        return {}
    first, last = new.entries[0].step, new.entries[-1].step
    piece = f"{FOLDER}/steps-{first:08d}-{last:08d}-{new.head[:8]}.json"
    return {piece: encode(new), HEAD: json.dumps({"step": last, "head": new.head}).encode("ascii")}


def decode(data: bytes) -> Ledger:
    """Return the ledger that *data* holds; raises BrokenError."""
    try:
        value = json.loads(data)
    except ValueError as error:
        raise BrokenError(f"ledger: is not JSON ({error})") from error
    return Ledger.from_json(value)
