"""Tenants and handlers as small integers, so that the keys of millions of rows stay narrow."""

from collections.abc import Iterable, Mapping


class Names:
    """The dictionary as one transaction sees it.

    Never trusted beyond its transaction: after a restore from a backup a number may mean another word.
    """

    def __init__(self, ids: Mapping[str, int]) -> None:
        self._ids = dict(ids)
        self._words = {number: word for word, number in ids.items()}

    def id(self, word: str) -> int:
        """The number of a word that `Transaction.learn` was told of."""
        return self._ids[word]

    def find(self, word: str) -> int | None:
        """The number of a word, or None if nothing was ever stored under it."""
        return self._ids.get(word)

    def word(self, number: int) -> str:
        return self._words[number]

    def agree(self, others: "Names") -> bool:
        """Whether all that `others` knew is still so."""
        return others is self or others._ids.items() <= self._ids.items()

    def missing(self, words: Iterable[str]) -> list[str]:
        return sorted({word for word in words if word not in self._ids})
