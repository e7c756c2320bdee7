"""How the product is broken on purpose, by the name of the mutation."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

Mutation = Callable[[], AbstractContextManager[None]]
MUTATIONS: dict[str, Mutation] = {}


def mutation(break_it: Callable[[], Iterator[None]]) -> Mutation:
    MUTATIONS[break_it.__name__] = made = contextmanager(break_it)
    return made


class Rewritten:
    """A transaction that says something else than it is told."""

    def __init__(self, real: Any, words: Mapping[str, str]) -> None:
        self._real = real
        self._words = words

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def run(self, sql: str, rows: Any = None, **parameters: Any) -> Any:
        for word, other in self._words.items():
            assert word in sql, "the statement is not what it was: mend the mutation"
            sql = sql.replace(word, other)
        return await self._real.run(sql, rows, **parameters)


def rewritten(real: Any, words: Mapping[str, str]) -> Any:
    """The function, its statements changed."""

    async def changed(transaction: Any, *arguments: Any, **more: Any) -> Any:
        return await real(Rewritten(transaction, words), *arguments, **more)

    return changed
