"""A set of rows as the parameters of one statement, so that a batch costs no round trip per row.

PostgreSQL takes one array a column (`unnest`), or, to insert them, one JSON text: that takes us a third of
the time to make, and the server's part of it runs on another core. Where rows are joined it keeps to
arrays, as the planner goes by their length. SQLite takes `VALUES` of so many places: twice as fast as
taking rows out of JSON, and unlike executemany it lets go of the interpreter's lock once, not for each row.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import msgspec

MOST_PLACES = 8_200
"""Parameters of one statement. SQLite takes 32,766; prepared, one of that size holds some megabytes. Eight
columns are written 1,024 rows at a time."""
PARAMETER = re.compile(r"(?<![:\w]):(\w+)")


class Rows:
    """Rows to join or insert, named `r` in the statement: `INSERT ... SELECT r.a FROM {rows}`.

    `columns` maps a column's name to its PostgreSQL type (`text`, `bigint`, `smallint`, `boolean`, `bytea`).
    """

    def __init__(self, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> None:
        self.columns = columns
        self.rows = rows if isinstance(rows, list) else list(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def insert(self, table: str) -> str:
        """The statement that inserts them, with `{rows}` for the rows."""
        names = ", ".join(self.columns)
        given = ", ".join(f"r.{name}" for name in self.columns)
        return f"INSERT INTO {table} ({names}) SELECT {given} FROM {{rows}} WHERE true"

    def arrays(self) -> tuple[str, dict[str, Any]]:
        """For PostgreSQL: the FROM item that stands for `{rows}`, and its parameters."""
        columns = zip(*self.rows, strict=True) if self.rows else ([] for _ in self.columns)
        return _unnest(tuple(self.columns.items())), {
            f"rows_{name}": list(column) for name, column in zip(self.columns, columns, strict=True)
        }

    def document(self) -> tuple[str, dict[str, Any]]:
        """For PostgreSQL: the same as one parameter."""
        record = _record(tuple(self.columns))
        records = [record(*row) for row in self.rows]
        return _recordset(tuple(self.columns.items())), {"rows": msgspec.json.encode(records).decode()}

    def pieces(self, sql: str, parameters: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """For SQLite: the statements, each with its parameters by place, that do `sql` to all the rows.

        Sizes are powers of two, the last one not filled, so that few different statements are ever prepared,
        and few are run: between any two of them the thread waits for the interpreter's lock.
        """
        names = tuple(self.columns)
        if not self.rows:
            yield _Values.of(sql, names, 0).filled((), parameters)
        most = 1 << (MOST_PLACES // len(names)).bit_length() - 1
        for start in range(0, len(self.rows), most):
            some = self.rows[start : start + most]
            size = 1 << (len(some) - 1).bit_length()
            yield _Values.of(sql, names, size).filled(some, parameters)


class _Values(NamedTuple):
    """A statement for SQLite, and the names of the parameters before and after those of the rows."""

    sql: str
    places: int
    """Of rows, those that are left empty included."""
    before: tuple[str, ...]
    after: tuple[str, ...]

    @staticmethod
    @lru_cache(maxsize=512)
    def of(sql: str, columns: tuple[str, ...], size: int) -> "_Values":
        before, _, after = sql.partition("{rows}")
        names = [tuple(PARAMETER.findall(part)) for part in (before, after)]
        before, after = (PARAMETER.sub("?", part) for part in (before, after))
        return _Values(f"{before}{_values(columns, size)}{after}", len(columns) * size, *names)

    def filled(
        self, rows: Sequence[Sequence[Any]], parameters: Mapping[str, Any]
    ) -> tuple[str, tuple[Any, ...]]:
        before, after = ([parameters[name] for name in names] for names in (self.before, self.after))
        if not rows:
            return self.sql, (*before, *after)
        given = list(chain.from_iterable(rows))
        empty = [None] * (self.places - len(given))
        return self.sql, (*before, *given, *empty, len(rows), *after)


def _values(columns: tuple[str, ...], size: int) -> str:
    if size == 0:
        return f"(SELECT {', '.join(f'NULL AS {name}' for name in columns)} WHERE false) AS r"
    named = ", ".join(f"column{place} AS {name}" for place, name in enumerate(columns, 1))
    row = f"({', '.join('?' for _ in columns)})"
    return f"(SELECT {named} FROM (VALUES {', '.join([row] * size)}) LIMIT ?) AS r"


@lru_cache(maxsize=512)
def _unnest(columns: tuple[tuple[str, str], ...]) -> str:
    arrays = ", ".join(f"CAST(:rows_{name} AS {type_}[])" for name, type_ in columns)
    return f"unnest({arrays}) AS r({', '.join(name for name, _ in columns)})"


@lru_cache(maxsize=512)
def _record(names: tuple[str, ...]) -> type[msgspec.Struct]:
    """A row as an object of JSON: as a dict it would take us five times as long."""
    return msgspec.defstruct("Record", names, gc=False)


@lru_cache(maxsize=512)
def _recordset(columns: tuple[tuple[str, str], ...]) -> str:
    typed = ", ".join(f"{name} {type_}" for name, type_ in columns)
    return f"json_to_recordset(CAST(:rows AS json)) AS r({typed})"
