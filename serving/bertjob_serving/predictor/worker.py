"""
Texts to predictions: one thread tokenizes, one computes, and the event loop decides who is next.

All state is touched by the event loop alone, so there is no lock.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bertjob_serving.predictor.batching import form_batch
from bertjob_serving.predictor.errors import DeadlineError, EngineError, OverloadedError
from bertjob_serving.predictor.settings import Limits
from bertjob_tasks.encoding import Encoded, pad
from bertjob_tasks.task import Asked, Windows, slices_of

Array = np.ndarray[Any, np.dtype[Any]]
Infer = Callable[[Array, Array], Array]
"""Token ids and mask (B, S) to logits (B, L) or (B, S, L)."""
Encode = Callable[[Sequence[Asked]], list[Windows]]


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """One input that waits for its logits."""

    tokens: Encoded
    answer: "asyncio.Future[Array]"

    @property
    def length(self) -> int:
        """Return its tokens."""
        return len(self.tokens.ids)


class Computed(NamedTuple):
    """What was computed of one text, or of the windows that it was cut into."""

    tokens: Windows
    logits: tuple[Array, ...]
    """(L,) or (S, L) of each input."""


class Worker:
    """The queue before the engine, and the task that empties it."""

    def __init__(self, *, encode: Encode, infer: Infer, pad_id: int, limits: Limits) -> None:
        self._encode, self._infer, self._pad_id, self._limits = encode, infer, pad_id, limits
        self._tokenizer = ThreadPoolExecutor(1, thread_name_prefix="tokenizer")
        self._engine = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._waiting: list[Waiting] = []
        self._accepted = 0
        self._runner: asyncio.Task[None] | None = None

    @property
    def accepted(self) -> int:
        """Return how many texts are being worked on or wait."""
        return self._accepted

    async def logits(self, texts: Sequence[Asked]) -> list[Computed]:
        """
        Return the logits of each of *texts* (or pairs of them), at least one.

        Raises:
            OverloadedError: too many texts wait already.
            DeadlineError: they were not done in time; they are not computed any more.
            EngineError: the engine failed.

        """
        free = self._limits.max_waiting - self._accepted
        if len(texts) > free:
            message = f"{self._accepted} texts wait, expected at most {self._limits.max_waiting}; try again in a second"
            raise OverloadedError(message)
        self._accepted += len(texts)
        try:
            async with asyncio.timeout(self._limits.deadline_s):
                loop = asyncio.get_running_loop()
                items = await loop.run_in_executor(self._tokenizer, self._encode, texts)
                return await self._answers(items)
        except TimeoutError as error:
            message = f"no answer within {self._limits.deadline_s:g} s; send fewer texts or try again later"
            raise DeadlineError(message) from error
        finally:
            self._accepted -= len(texts)

    async def _answers(self, items: Sequence[Windows]) -> list[Computed]:
        loop = asyncio.get_running_loop()
        entries = [Waiting(tokens, loop.create_future()) for item in items for tokens in item]
        self._waiting.extend(entries)
        if self._runner is None or self._runner.done():
            self._runner = loop.create_task(self._run())
        logits = await asyncio.gather(*(entry.answer for entry in entries))
        parts = slices_of([len(item) for item in items])
        return [Computed(item, tuple(logits[part])) for item, part in zip(items, parts, strict=True)]

    async def _run(self) -> None:
        """Compute batch after batch until nobody waits; texts that were given up are dropped."""
        loop = asyncio.get_running_loop()
        while True:
            alive = [entry for entry in self._waiting if not entry.answer.done()]
            batch, self._waiting = form_batch(
                alive, max_tokens=self._limits.max_tokens, max_items=self._limits.max_items
            )
            if not batch:
                return
            padded = pad([entry.tokens for entry in batch], pad_id=self._pad_id)
            try:
                logits = await loop.run_in_executor(self._engine, self._infer, padded.ids, padded.mask)
            except Exception as error:  # noqa: BLE001  # whatever the engine raises, each of its texts is told
                _fail(batch, error)
                continue
            for entry, row in zip(batch, logits, strict=True):
                if not entry.answer.done():
                    entry.answer.set_result(row[: entry.length] if row.ndim == 2 else row)  # padding has outputs too

    def close(self) -> None:
        """End the threads after the work they have."""
        self._tokenizer.shutdown()
        self._engine.shutdown()


def _fail(batch: Sequence[Waiting], error: Exception) -> None:
    for entry in batch:
        if not entry.answer.done():
            failure = EngineError("the engine failed on this batch; see the predictor's log")
            failure.__cause__ = error
            entry.answer.set_exception(failure)
