"""What was worked out ahead of a batch, while the database was busy with the one before."""

from collections.abc import Iterable, Sequence
from operator import is_
from typing import Any, Generic, TypeVar

from storage.names import Names

T = TypeVar("T")


class Ahead(Generic[T]):
    """Owns what was worked out for the next batch, and perhaps for the one in hand."""

    def __init__(self) -> None:
        self._names: Names | None = None
        self._kept: list[tuple[Sequence[Any], Names, T]] = []

    def names(self, words: Iterable[str]) -> Names | None:
        """The names as the last batch had them, if these words are among them."""
        names = self._names
        return None if names is None or names.missing(words) else names

    def keep(self, things: Sequence[Any], names: Names, result: T) -> None:
        """What was made of these things by these names."""
        self._kept = [*self._kept[-1:], (things, names, result)]

    def take(self, things: Sequence[Any], names: Names) -> T | None:
        """What was made of these very things, if it would be the same by the names of their batch: a restored
        database may have others. Nothing holds on to it after."""
        self._names = names
        for kept in self._kept:
            its, known, result = kept
            if len(its) == len(things) and all(map(is_, its, things)) and names.agree(known):
                self._kept = [each for each in self._kept if each is not kept]
                return result
        return None
