"""Who may make a call that only one may make, only once, or only so often.

Most events lead to one call, and their effect's own row remembers that. Here is what it cannot: that of two
channels one has accepted, that a stack is told once, that a pair of success and rollback is told never, and
how many messages a customer got.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from handlers.notifications.together import Together
from storage.database import Database, Transaction
from storage.notification_calls import (
    Call,
    CallRow,
    CallState,
    Window,
    cancel_calls,
    count_messages,
    lock_calls,
    note_calls,
    replace_calls,
)


class Subject(NamedTuple):
    """A call by its tenant's name. `id`: the redemption, or the stack where that is told as one."""

    tenant: str
    id: str
    kind: int
    call: str
    """Channel and template."""


class Wish(NamedTuple):
    """To make a call for a redemption, to a customer who gets at most `cap` in `cap_seconds`."""

    subject: Subject
    redemption_id: str
    channel: str
    customer_id: str | None = None
    cap: int | None = None
    cap_seconds: float = 0.0
    begin: bool = True
    """False: only to wait, and to know since when."""
    generation: int = 0
    """Of the replay: what was refused in an earlier one is made again, for an operator asks for it."""


class Permit(NamedTuple):
    """What became of a wish."""

    granted: bool
    """The call is ours to make, and is begun."""
    before: CallState
    """What was known before the wish: BEGUN and ours is a call that nobody knows the outcome of."""
    mine: bool
    """Whether it was ours before."""
    waited: float
    """Seconds since somebody first wished for it, while it waits."""


class Note(NamedTuple):
    """What a call came to."""

    subject: Subject
    redemption_id: str
    state: CallState


class Calls:
    """The table of calls, asked and told by many attempts at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wishes = Together(self._wish_all)
        self._notes = Together(self._note_all)
        self._cancels = Together(self._cancel_all)

    async def wish(self, wish: Wish) -> Permit:
        """Begin a call, unless another has it, it is over, or the customer has had enough."""
        return await self._wishes.ask(wish)

    async def note(self, subject: Subject, redemption_id: str, state: CallState) -> None:
        """Store what came of a call that is ours."""
        await self._notes.ask(Note(subject, redemption_id, state))

    async def cancel(self, subject: Subject) -> bool:
        """Whether nobody has made this call, nor ever will. It has to be waiting, or to have failed."""
        return await self._cancels.ask(subject)

    async def _wish_all(self, wishes: Sequence[Wish]) -> Sequence[Permit]:
        async with self._database.transaction() as transaction:
            calls = await _known(transaction, [wish.subject for wish in wishes])
            table = _Table(await lock_calls(transaction, calls))
            await table.make_room(transaction, zip(wishes, calls, strict=True))
            permits = [table.permit(wish, call) for wish, call in zip(wishes, calls, strict=True)]
            await replace_calls(transaction, table.changed)
        return permits

    async def _note_all(self, notes: Sequence[Note]) -> Sequence[None]:
        async with self._database.transaction() as transaction:
            calls = await _known(transaction, [note.subject for note in notes])
            await note_calls(
                transaction, {(call, *note[1:]) for note, call in zip(notes, calls, strict=True)}
            )
        return [None] * len(notes)

    async def _cancel_all(self, subjects: Sequence[Subject]) -> Sequence[bool]:
        async with self._database.transaction() as transaction:
            calls = await _known(transaction, subjects)
            cancelled = await cancel_calls(transaction, calls)
        return [call in cancelled for call in calls]


async def _known(transaction: Transaction, subjects: Sequence[Subject]) -> list[Call]:
    await transaction.learn({subject.tenant for subject in subjects})
    return [Call(transaction.names.id(subject.tenant), *subject[1:]) for subject in subjects]


class _Table:
    """The rows of one transaction, as its wishes change them one after the other."""

    def __init__(self, rows: dict[Call, CallRow]) -> None:
        self._rows = rows
        self._room: dict[tuple[int, str, str], int] = {}
        self.changed: dict[Call, CallRow] = {}

    async def make_room(self, transaction: Transaction, wishes: Iterable[tuple[Wish, Call]]) -> None:
        """How many more messages each customer may get."""
        capped = {
            _whose(wish, call): (wish.cap, wish.cap_seconds) for wish, call in wishes if wish.cap is not None
        }
        if capped:
            windows = [Window(*whose, seconds) for whose, (_, seconds) in capped.items()]
            sent = await count_messages(transaction, windows)
            self._room = {
                whose: (cap or 0) - count
                for (whose, (cap, _)), count in zip(capped.items(), sent, strict=True)
            }

    def permit(self, wish: Wish, call: Call) -> Permit:
        row = self._rows[call]
        mine = row.redemption_id == wish.redemption_id
        granted = wish.begin and _is_open(row, mine, wish.generation)
        if granted and wish.cap is not None and row.state is not CallState.BEGUN:
            granted = self._room[_whose(wish, call)] > 0
            self._room[_whose(wish, call)] -= 1
            if not granted:
                self._set(call, wish, CallState.SKIPPED)
        if granted:
            self._set(call, wish, CallState.BEGUN)
        return Permit(granted, row.state, mine, row.waited)

    def _set(self, call: Call, wish: Wish, state: CallState) -> None:
        row = CallRow(state, wish.redemption_id, wish.generation, wish.customer_id, wish.channel, 0.0)
        self._rows[call] = self.changed[call] = row


def _whose(wish: Wish, call: Call) -> tuple[int, str, str]:
    return call.tenant, wish.customer_id or "", wish.channel


def _is_open(row: CallRow, mine: bool, generation: int) -> bool:
    if row.state is CallState.WAITING:
        return True
    if row.state is CallState.REFUSED:
        return mine and generation > row.generation
    return mine and row.state in (CallState.BEGUN, CallState.FAILED)
