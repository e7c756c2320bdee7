"""Every table, as SQLAlchemy Core, a file for each domain; this is the door to all of them.

Times are integer milliseconds since 1970 by the database's clock. Handlers and tenants are small integers
(table `names`), kinds and states too: the key columns of millions of rows stay narrow.
"""

from storage.schema import log, notifications, operators
from storage.schema.columns import metadata
from storage.schema.effects import KIND_NUMBERS, KINDS, LETTER_KIND, State, names
from storage.schema.jobs import ItemState, JobKind, JobState
from storage.schema.ledger import facts, orders
from storage.schema.letters import LetterEvent, LetterState

__all__ = [
    "KINDS",
    "KIND_NUMBERS",
    "LETTER_KIND",
    "ItemState",
    "JobKind",
    "JobState",
    "LetterEvent",
    "LetterState",
    "State",
    "facts",
    "log",
    "metadata",
    "names",
    "notifications",
    "operators",
    "orders",
]
