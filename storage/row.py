"""The rows of an answer, from whichever driver."""

from collections import namedtuple
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any


class Row(tuple[Any, ...]):
    """Columns by place, and by name as attributes."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

        def _asdict(self) -> dict[str, Any]: ...


@lru_cache(maxsize=512)
def row_maker(names: tuple[str, ...]) -> Callable[[Iterable[Any]], Row]:
    """What makes a driver's row, with these columns, into ours."""

    class Named(namedtuple("Columns", names, rename=True), Row):  # type: ignore[misc]
        __slots__ = ()

    return partial(tuple.__new__, Named)
