"""The queue before the engine."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from bertjob_serving.predictor.errors import STATUS, DeadlineError, EngineError, OverloadedError, RequestError
from bertjob_serving.predictor.settings import Limits
from bertjob_serving.predictor.worker import Worker
from bertjob_tasks.encoding import Encoded

LIMITS = Limits(max_waiting=8, deadline_s=30)


def _encode(texts: Sequence[str]) -> list[tuple[Encoded, ...]]:
    """Return an input for each word."""
    return [tuple(_input(word) for word in text.split("|")) for text in texts]


def _input(word: str) -> Encoded:
    return Encoded(np.full(len(word), ord(word[0]), np.int32), np.zeros(len(word), np.int32))


def _first_token(ids: np.ndarray, _mask: np.ndarray) -> np.ndarray:
    return ids[:, :1].astype(np.float32)


def _worker(infer: Callable[[np.ndarray, np.ndarray], np.ndarray], limits: Limits = LIMITS) -> Worker:
    return Worker(encode=_encode, infer=infer, pad_id=0, limits=limits)


async def test_everybody_gets_the_own_answer() -> None:
    """Concurrent requests of different lengths are answered with their own logits, in their order."""
    worker = _worker(_first_token, replace(LIMITS, max_waiting=100, max_items=3))

    answers = await asyncio.gather(*(worker.logits([char, char * 5]) for char in "abcdefgh"))

    assert [[row.logits[0][0] for row in answer] for answer in answers] == [[ord(char)] * 2 for char in "abcdefgh"]
    assert worker.accepted == 0
    worker.close()


async def test_windows_of_a_text_come_back_together() -> None:
    """However the engine's batches fall, each text gets the outputs of its own windows in their order."""
    worker = _worker(_first_token, replace(LIMITS, max_items=2))

    found = await worker.logits(["a|bbb|c", "dd", "e|ff"])

    assert [[chr(int(row[0])) for row in item.logits] for item in found] == [["a", "b", "c"], ["d"], ["e", "f"]]
    assert [[len(tokens.ids) for tokens in item.tokens] for item in found] == [[1, 3, 1], [2], [1, 2]]
    worker.close()


async def test_full_queue_refuses_and_recovers() -> None:
    """What does not fit is refused at once; after the others are answered there is room again."""
    go = threading.Event()

    def slow(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        go.wait(30)
        return _first_token(ids, mask)

    worker = _worker(slow)
    first = asyncio.create_task(worker.logits(["a"] * 8))
    await asyncio.sleep(0)

    with pytest.raises(OverloadedError, match="8 texts wait, expected at most 8"):
        await worker.logits(["b"])

    go.set()
    assert len(await first) == 8
    assert (await worker.logits(["b"]))[0].logits[0][0] == ord("b")
    worker.close()


async def test_late_answer_is_a_deadline() -> None:
    """A request that is not answered in time fails, frees its place, and what waited of it is not computed."""
    go, computed = threading.Event(), []

    def slow(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        computed.append(len(ids))
        go.wait(30)
        return _first_token(ids, mask)

    worker = _worker(slow, replace(LIMITS, deadline_s=0.2, max_items=1))

    with pytest.raises(DeadlineError, match=r"no answer within 0\.2 s"):
        await worker.logits(["a", "b", "c"])

    assert worker.accepted == 0
    go.set()
    assert (await worker.logits(["d"]))[0].logits[0][0] == ord("d")
    assert computed == [1, 1]
    worker.close()


async def test_failing_engine_fails_its_batch_only() -> None:
    """The engine's error reaches those who asked; the next request is answered."""

    def moody(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        if (ids == ord("x")).any():
            message = "bad day"
            raise RuntimeError(message)
        return _first_token(ids, mask)

    worker = _worker(moody)

    with pytest.raises(EngineError) as caught:
        await worker.logits(["x"])
    assert str(caught.value.__cause__) == "bad day"
    assert (await worker.logits(["a"]))[0].logits[0][0] == ord("a")
    worker.close()


def test_every_error_has_a_status() -> None:
    """The table is complete."""
    assert set(STATUS) == set(RequestError.__subclasses__())
