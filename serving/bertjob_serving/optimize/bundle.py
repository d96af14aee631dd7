"""What a candidate's process is given: held-out items and calibration texts as token ids, and how to measure."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from bertjob_serving.optimize.weights import Array
from bertjob_tasks.encoding import Encoded
from bertjob_tasks.task import Asked, Reads, Windows, asked_of, slices_of

_ARRAYS: Final = "texts.npz"
_SETTINGS: Final = "settings.json"
MODEL: Final = "model"
"""Folder of the trained model, within the working folder."""
TIMING_S: Final = 30.0
"""Seconds after which no further round is timed, unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How weights are reworked."""

    heads: float = 0.0
    """Share of the attention heads to leave out."""
    channels: float = 0.0
    """Share of the feed-forward channels to leave out."""
    epochs: int = 1
    learning_rate: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How candidates are measured; the same for all of them."""

    threads: int
    max_length: int
    """Tokens of the longest text."""
    task: str = "sequence-classification"
    problem: str | None = None
    reads: Reads = "first"
    """What the model's head reads."""
    sep_id: int | None = None
    """Id of [SEP], for tasks on pairs of texts; None: every input is one text."""
    mask_id: int | None = None
    """Id of [MASK], for tasks that fill it in; None: nothing is filled in."""
    vocabulary: int = 0
    """How many token ids there are, for golden inputs that are invented."""
    unknown_id: int = 0
    """Id of [UNK]: what tokens are looked up as whose embeddings were left out."""
    take: tuple[int, ...] | None = None
    """Which output is the first, the second, ... of the job's labels; None: they are in this order."""
    rounds: int = 15
    """Most interleaved rounds that are timed."""
    budget_s: float = TIMING_S
    """Seconds after which no further round is begun."""
    timed_texts: int = 32
    """Held-out texts timed in each round: a sample of the real lengths."""
    tuning: Tuning = field(default_factory=Tuning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The inputs of every candidate."""

    heldout: tuple[Array, ...]
    """Token ids (S,) int32 of each held-out input."""
    types: tuple[Array, ...]
    """Token types (S,) int32 of each held-out input: which of its item's texts a token is of."""
    counts: tuple[int, ...]
    """Held-out inputs of each item; they stand side by side."""
    calibration: tuple[Array, ...]
    """Token ids (S,) int32 of training texts."""
    training: tuple[Array, ...] = ()
    """Token ids (S,) int32 of training texts to learn from."""
    words: Array | None = None
    """(K,) ascending: token ids whose embeddings INT8 candidates keep; None: those of all."""
    golden: tuple[int, ...]
    """Indices of the held-out inputs that become the golden set."""
    golden_texts: tuple[Asked, ...] | None
    """What is asked to get them; None where texts may not be stored, and then the inputs are invented ones of their form."""
    settings: Settings

    @property
    def items(self) -> list[Windows]:
        """Return the inputs of each held-out item."""
        inputs = [Encoded(ids, types) for ids, types in zip(self.heldout, self.types, strict=True)]
        return [tuple(inputs[part]) for part in slices_of(self.counts)]

    def save(self, folder: Path) -> None:
        """Write the bundle into the working folder."""
        arrays = {
            **_flat("heldout", self.heldout),
            **_flat("types", self.types),
            **_flat("calibration", self.calibration),
            **_flat("training", self.training),
            "counts": np.array(self.counts, np.int64),
            **({} if self.words is None else {"words": self.words}),
        }
        np.savez(folder / _ARRAYS, allow_pickle=False, **arrays)
        plain = {"golden": self.golden, "golden_texts": self.golden_texts, "settings": asdict(self.settings)}
        (folder / _SETTINGS).write_text(json.dumps(plain), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Bundle":
        """Return the bundle of the working folder."""
        plain = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        texts = plain["golden_texts"]
        with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
            return cls(
                heldout=_split(arrays["heldout"], arrays["heldout_ends"]),
                types=_split(arrays["types"], arrays["types_ends"]),
                counts=tuple(arrays["counts"].tolist()),
                calibration=_split(arrays["calibration"], arrays["calibration_ends"]),
                training=_split(arrays["training"], arrays["training_ends"]),
                words=arrays.get("words"),
                golden=tuple(plain["golden"]),
                golden_texts=None if texts is None else tuple(map(asked_of, texts)),
                settings=_settings(plain["settings"]),
            )


def spread(count: int, *, wanted: int) -> tuple[int, ...]:
    """Return *wanted* indices spread evenly over range(*count*), or all of them when there are fewer."""
    return tuple(range(count)) if count <= wanted else tuple(index * count // wanted for index in range(wanted))


def _settings(value: dict[str, Any]) -> Settings:
    """Return the settings from their JSON."""
    take = value["take"]
    parts = {"take": None if take is None else tuple(take), "tuning": Tuning(**value["tuning"])}
    return Settings(**{**value, **parts})


def _flat(name: str, texts: Sequence[Array]) -> dict[str, Array]:
    ends = np.cumsum([len(ids) for ids in texts], dtype=np.int64)
    return {name: np.concatenate([*texts, np.zeros(0, np.int32)]), f"{name}_ends": ends}


def _split(flat: Array, ends: Array) -> tuple[Array, ...]:
    starts = [0, *ends[:-1].tolist()]
    return tuple(np.ascontiguousarray(flat[start:end]) for start, end in zip(starts, ends.tolist(), strict=False))
