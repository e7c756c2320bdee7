"""Questions that come together are answered together, and nobody's trouble becomes another's."""

import asyncio
from collections.abc import Sequence

import pytest

from handlers.notifications.together import MOST, Together


class Looking:
    """Answers a question with itself, when the gate is open; remembers each look."""

    def __init__(self) -> None:
        self.looks: list[list[int]] = []
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.failures: list[Exception] = []

    async def look(self, questions: Sequence[int]) -> Sequence[int]:
        self.looks.append(list(questions))
        self.begun.set()
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop()
        return [10 * question for question in questions]


async def begun(together: Together[int, int], questions: Sequence[int]) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(together.ask(question)) for question in questions]
    await asyncio.sleep(0)
    return tasks


async def test_what_arrives_during_a_look_is_answered_by_the_next_one() -> None:
    looking = Looking()
    together = Together(looking.look)
    tasks = await begun(together, [1]) + await begun(together, [2, 3, 4])
    looking.gate.set()
    assert await asyncio.gather(*tasks) == [10, 20, 30, 40]
    assert looking.looks == [[1], [2, 3, 4]]


async def test_no_look_is_for_more_than_it_may() -> None:
    looking = Looking()
    together = Together(looking.look)
    questions = range(2 * MOST + 2)
    tasks = await begun(together, questions)
    looking.gate.set()
    assert await asyncio.gather(*tasks) == [10 * question for question in questions]
    assert max(map(len, looking.looks)) == MOST
    assert sum(map(len, looking.looks)) == len(questions)


async def test_a_failure_is_that_of_all_who_were_looked_for_and_of_no_others() -> None:
    looking = Looking()
    together = Together(looking.look)
    looking.failures = [OSError("gone")]
    first, second = await begun(together, [1]) + await begun(together, [2])
    looking.gate.set()
    with pytest.raises(OSError, match="gone"):
        await first
    assert await second == 20


async def test_who_is_cancelled_while_looking_takes_nobody_along() -> None:
    looking = Looking()
    together = Together(looking.look)
    first, *others = await begun(together, [1]) + await begun(together, [2, 3])
    first.cancel()
    await asyncio.wait([first])
    looking.gate.set()
    assert await asyncio.gather(*others) == [20, 30]
    assert looking.looks == [[1], [2, 3]]


async def test_who_is_cancelled_while_looking_for_others_too_leaves_them_to_the_next() -> None:
    looking = Looking()
    together = Together(looking.look)
    first, second, third = await begun(together, [1]) + await begun(together, [2, 3])
    looking.begun.clear()
    looking.gate.set()
    looking.gate.clear()  # only who waits by now has passed
    await first
    await looking.begun.wait()
    second.cancel()
    await asyncio.wait([second])
    looking.gate.set()
    assert await third == 30
    assert looking.looks == [[1], [2, 3], [3]]


async def test_who_is_cancelled_while_waiting_is_not_looked_for() -> None:
    looking = Looking()
    together = Together(looking.look)
    tasks = await begun(together, [1]) + await begun(together, [2, 3])
    tasks[1].cancel()
    await asyncio.wait(tasks[1:2])
    looking.gate.set()
    assert await tasks[2] == 30
    assert looking.looks == [[1], [3]]
