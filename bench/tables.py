"""A row of figures of a section that has columns of its own."""

import msgspec


class Tabled(msgspec.Struct, frozen=True):
    section: str
    values: dict[str, str | int | float]
    """By column; the same columns in all rows of a section."""
