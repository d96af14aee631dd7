"""No key is lost and none is worked on twice at once."""

import asyncio
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from bertjob_operator.runtime.queue import LAST_RETRY, WorkQueue

HOUR = timedelta(hours=1)
SOON = timedelta(milliseconds=1)

Step = tuple[str, str]
STEPS = st.lists(st.tuples(st.sampled_from(["add", "get", "done"]), st.sampled_from("abc")), max_size=60)


@given(steps=STEPS)
def test_queue_against_its_model(steps: list[Step]) -> None:
    """Whatever the order of calls, the queue gives exactly the keys that were added and that nobody works on."""
    asyncio.run(_play(steps))


async def _play(steps: list[Step]) -> None:
    queue: WorkQueue[str] = WorkQueue()
    added: set[str] = set()
    taken: set[str] = set()
    for step, key in steps:
        if step == "add":
            queue.add(key)
            added.add(key)
        elif step == "done" and key in taken:
            queue.done(key)
            taken.remove(key)
        elif step == "get" and added - taken:
            got = await queue.get()
            assert got in added - taken
            added.remove(got)
            taken.add(got)
        assert len(queue) == len(added - taken)
    for key in taken:
        queue.done(key)
    assert sorted([await queue.get() for _ in range(len(queue))]) == sorted(added)


@given(counts=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 5)))
def test_workers_never_share_a_key_and_see_the_last_addition(counts: dict[str, int]) -> None:
    """With many workers and additions during the work, each key's last addition is followed by a turn of its own."""
    asyncio.run(_work(counts))


async def _work(counts: dict[str, int]) -> None:
    queue: WorkQueue[str] = WorkQueue()
    left = dict(counts)
    seen: dict[str, int] = {}
    busy: set[str] = set()

    async def worker() -> None:
        while True:
            key = await queue.get()
            assert key not in busy
            busy.add(key)
            seen[key] = left[key]
            if left[key]:
                left[key] -= 1
                queue.add(key)
            await asyncio.sleep(0)
            busy.remove(key)
            queue.done(key)

    workers = [asyncio.create_task(worker()) for _ in range(4)]
    for key in counts:
        queue.add(key)
    while busy or len(queue) or any(left.values()):  # noqa: ASYNC110  # sleep(0) lets the workers run, no time passes
        await asyncio.sleep(0)
    assert not [each for each in workers if each.done()]
    for each in workers:
        each.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert seen == dict.fromkeys(counts, 0)


async def test_earliest_delay_stays() -> None:
    """Of several delayed requests for a key the earliest counts, in whichever order they come, and there is one turn."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", HOUR)
    queue.add_after("a", SOON)
    queue.add_after("b", SOON)
    queue.add_after("b", HOUR)

    assert {await queue.get(), await queue.get()} == {"a", "b"}
    assert not queue._timers


async def test_no_delay_is_a_plain_addition() -> None:
    """A delay of nothing or less makes the key ready at once."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", timedelta(0))
    queue.add_after("b", -HOUR)

    assert len(queue) == 2


async def test_retries_wait_longer_until_success() -> None:
    """Each failure of a key doubles its wait up to the bound; a success starts anew; other keys are not concerned."""
    queue: WorkQueue[str] = WorkQueue()
    waits = [queue.retry("a") for _ in range(3)]
    other = queue.retry("b")
    queue.forget("a")

    assert waits == [timedelta(milliseconds=5 * 2**failures) for failures in range(3)]
    assert queue.retry("a") == other == waits[0]
    assert max(queue.retry("c") for _ in range(30)) == LAST_RETRY
    queue.close()


async def test_retry_honours_what_the_server_asks() -> None:
    """A least wait counts when it is longer than the backoff."""
    queue: WorkQueue[str] = WorkQueue()

    assert queue.retry("a", least=HOUR) == HOUR
    queue.close()


async def test_close_drops_delayed_keys() -> None:
    """After close no timer is left that would call into a dead loop."""
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", SOON)
    timer = queue._timers["a"]
    queue.close()

    assert timer.cancelled()


async def test_cancelled_get_loses_nothing() -> None:
    """A worker that is cancelled while it waits takes no key with it."""
    queue: WorkQueue[str] = WorkQueue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    waiting.cancel()
    await asyncio.wait({waiting})

    assert waiting.cancelled()
    assert await queue.get() == "a"
