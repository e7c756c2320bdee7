"""The journal of a run, in two files: what was found, and how far it came, so that another run can go on."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from events.failures import Misconfigured
from reconcile.findings import Different, Extra, Finding, Missing

F = TypeVar("F", Missing, Extra, Different)


class Scope(NamedTuple):
    """What makes two runs the same: the second goes on where the first was interrupted."""

    account: str
    """Which project of Voucherify."""
    tenant: str
    since: int
    until: int | None
    """None: the present, whenever that was when the run began."""
    enqueue: bool

    @property
    def name(self) -> str:
        text = "\x00".join(map(str, self))
        return f"{self.tenant}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


class Listed(Struct, frozen=True, tag="listed"):
    """What a page told, beside the findings."""

    rows: list[str]
    """The ids of rows that came for the first time."""
    reversed: list[str]
    """Redemptions that a rollback names."""
    undone: list[str]
    """Redemptions whose own row says that they were rolled back."""
    checked: int = 0
    unreadable: int = 0
    enqueued: int = 0
    erased: int = 0
    """Missing, but from before the erasure of their customer: neither a finding nor enqueued."""


class Progress(Struct, frozen=True):
    until: int
    frontier: int
    """Everything that was created before it is in the journal."""
    size: int
    """Bytes of the journal that belong to it; what follows was written by a run that was interrupted."""


_ENTRIES = msgspec.json.Decoder(Listed | Missing | Extra | Different)
_PROGRESS = msgspec.json.Decoder(Progress)


class Journal:
    """Sums up what is in the file. `until` and `frontier` are milliseconds since 1970."""

    def __init__(self, directory: Path, scope: Scope, *, now: int, restart: bool) -> None:
        """`directory` is made if need be. Raises Misconfigured if another run has the journal, or OSError."""
        directory.mkdir(parents=True, exist_ok=True)
        self.scope = scope
        self._progress_file = directory / f"{scope.name}.json"
        self._path = directory / f"{scope.name}.jsonl"
        self._file = self._path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise Misconfigured("already_running", "the same window is being reconciled already") from None
        self.rows: set[str] = set()
        self.reversed: set[str] = set()
        self.undone: set[str] = set()
        self.checked = self.unreadable = self.enqueued = self.erased = 0
        self.missing = self.extra = self.different = 0
        progress = None if restart else self._read_progress()
        self.until = progress.until if progress else now if scope.until is None else scope.until
        self.frontier = progress.frontier if progress else None
        if progress is None:
            # It would vouch for what is written from now on.
            self._progress_file.unlink(missing_ok=True)
        self._file.truncate(progress.size if progress else 0)
        for entry in self._entries():
            self._count(entry)

    def add(self, *entries: Listed | Finding) -> None:
        for entry in entries:
            self._file.write(msgspec.json.encode(entry) + b"\n")
            self._count(entry)

    def finish(self, frontier: int) -> None:
        """Keep what was added, and that everything before `frontier` is done."""
        self.frontier = frontier
        self._sync()
        progress = Progress(self.until, frontier, self._file.tell())
        beside = self._progress_file.with_suffix(".new")
        with beside.open("wb") as file:
            file.write(msgspec.json.encode(progress))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._progress_file)

    def of(self, kind: type[F]) -> Iterator[F]:
        return (entry for entry in self._entries() if isinstance(entry, kind))

    def close(self) -> None:
        """What was finished stays, for a run that goes on."""
        if self.frontier is None:
            self._path.unlink(missing_ok=True)
        self._file.close()

    def discard(self) -> None:
        """The run is over: the next one begins anew."""
        self._progress_file.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)
        self._file.close()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def _entries(self) -> Iterator[Listed | Finding]:
        self._file.flush()
        with self._path.open("rb") as file:
            yield from map(_ENTRIES.decode, file)

    def _read_progress(self) -> Progress | None:
        try:
            progress = _PROGRESS.decode(self._progress_file.read_bytes())
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return progress if progress.size <= self._path.stat().st_size else None

    def _count(self, entry: Listed | Finding) -> None:
        match entry:
            case Listed():
                self.rows.update(entry.rows)
                self.reversed.update(entry.reversed)
                self.undone.update(entry.undone)
                self.checked += entry.checked
                self.unreadable += entry.unreadable
                self.enqueued += entry.enqueued
                self.erased += entry.erased
            case Missing():
                self.missing += 1
            case Extra():
                self.extra += 1
            case Different():
                self.different += 1
