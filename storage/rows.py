"""A set of rows as the parameters of one statement, so that a batch costs no round trip per row.

PostgreSQL takes one array a column (`unnest`), SQLite one JSON array of rows (`json_each`). Binary columns
do not fit in JSON: flat inserts of those use executemany.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec


class Rows:
    """Rows to join or insert, named `r` in the statement: `INSERT ... SELECT r.a FROM {rows}`.

    `columns` maps a column's name to its PostgreSQL type (`text`, `bigint`, `smallint`, `boolean`).
    """

    def __init__(self, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> None:
        self.columns = columns
        self.rows = rows if isinstance(rows, list) else list(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def source(self, dialect: str) -> str:
        """The FROM item, for `{rows}` in a statement."""
        if dialect == "postgresql":
            arrays = ", ".join(f"CAST(:rows_{name} AS {type_}[])" for name, type_ in self.columns.items())
            return f"unnest({arrays}) AS r({', '.join(self.columns)})"
        picked = ", ".join(f"value->>{place} AS {name}" for place, name in enumerate(self.columns))
        return f"(SELECT {picked} FROM json_each(:rows)) AS r"

    def parameters(self, dialect: str) -> dict[str, Any]:
        if dialect == "postgresql":
            if not self.rows:
                return {f"rows_{name}": [] for name in self.columns}
            return {
                f"rows_{name}": column
                for name, column in zip(self.columns, map(list, zip(*self.rows, strict=True)), strict=True)
            }
        return {"rows": msgspec.json.encode(self.rows).decode()}
