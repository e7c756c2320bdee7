"""Secrets in force: those of the start, or what their file holds by now."""

from collections.abc import Mapping
from typing import NamedTuple

from config.given import contents
from config.readings import dsn
from config.settings import Settings
from config.webhook_secrets import parse_webhook_secrets

Secrets = Mapping[str, tuple[str, ...]]
"""By tenant, in clear."""


class Refused(NamedTuple):
    """What the file holds cannot be used."""

    why: str
    """Names an entry by its place; holds no part of a secret."""


class LiveSecrets:
    """Changes only to secrets that a start would accept.

    Whoever rewrites a file in place empties it first, and a look may fall in between: a change is believed
    when two looks in a row find the same.
    """

    def __init__(self, settings: Settings) -> None:
        self.current: Secrets = settings.webhook_keys()
        self._file = settings.file_of("webhook_secrets")
        self._believed: Secrets | Refused = self.current
        self._seen: Secrets | Refused = self.current

    @property
    def may_change(self) -> bool:
        return self._file is not None

    def look(self) -> Secrets | Refused | None:
        """Read the file. Returns what it holds, to be taken, when that has changed; else None. Blocks."""
        before, self._seen = self._seen, self._found()
        if self._seen == self._believed or self._seen != before:
            return None
        self._believed = self._seen
        return self._believed

    def take(self, change: Secrets) -> None:
        """These are in force from now on. `look` leaves that to us, as it runs in a thread: whoever counts
        deliveries by secret must see them change between two of them."""
        self.current = change

    def _found(self) -> Secrets | Refused:
        if self._file is None:
            return self.current
        try:
            return parse_webhook_secrets(contents(self._file))
        except ValueError as wrong:
            return Refused(str(wrong))


def database_url(settings: Settings) -> str:
    """The URL that its file holds by now; that of the start, if the file holds nothing of the kind."""
    file, first = settings.file_of("database_url"), settings.database()
    if file is None:
        return first
    try:
        found = dsn(contents(file))
    except ValueError:
        return first
    # Another kind of database is another deployment: that takes a restart.
    return found if found.partition("://")[0].startswith("postgres") else first
