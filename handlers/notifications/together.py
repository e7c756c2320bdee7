"""Questions that arrive while another is being answered are answered together, by one look."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")

MOST = 500


class Together(Generic[Q, A]):
    """`look` answers many questions, in their order. Who comes first looks for all that wait by then."""

    def __init__(self, look: Callable[[Sequence[Q]], Awaitable[Sequence[A]]]) -> None:
        self._look = look
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._turn = asyncio.Lock()

    async def ask(self, question: Q) -> A:
        """Raises what `look` raises."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        try:
            async with self._turn:
                if not answer.done():
                    await self._answer(answer)
            return await answer
        finally:
            answer.cancel()  # whoever is cancelled wants no answer any more

    async def _answer(self, mine: asyncio.Future[A]) -> None:
        waiting = [(question, answer) for question, answer in self._waiting if not answer.done()]
        asked, self._waiting = waiting[:MOST], waiting[MOST:]
        try:
            answers = await self._look([question for question, _ in asked])
        except Exception as failure:
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(failure)
            return
        except BaseException:
            # Only this one is cancelled: the next in turn looks for the others.
            self._waiting = [pair for pair in asked if pair[1] is not mine] + self._waiting
            raise
        for (_, answer), result in zip(asked, answers, strict=True):
            if not answer.done():
                answer.set_result(result)
