"""The table of notification calls: what was begun, and what came of it (handlers.notifications.calls)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from storage.database import Transaction
from storage.rows import Rows

KEY = {"tenant": "smallint", "subject": "text", "kind": "smallint", "call": "text"}
SAME = " AND ".join(f"c.{name} = r.{name}" for name in KEY)
SAME_UPDATED = SAME.replace("c.", "notification_calls.")


class CallState(IntEnum):
    """What is known of a call."""

    WAITING = 0
    """It settles, or waits for the morning: nobody has begun."""
    BEGUN = 1
    """Nobody knows whether it was accepted, if whoever began is not at it any more."""
    ACCEPTED = 2
    REFUSED = 3
    FAILED = 4
    """Surely not accepted: it may be made again."""
    SKIPPED = 5
    """The customer has had enough messages."""
    CANCELLED = 6
    """By the rollback of what it would have told."""


class Call(NamedTuple):
    """A call's place in the table. Sorts as the database does, which the lock order needs."""

    tenant: int
    subject: str
    """The redemption, or its stack where that is told as one."""
    kind: int
    call: str
    """Channel and template."""


class CallRow(NamedTuple):
    state: CallState
    redemption_id: str | None
    """Whose it is; None while it is anybody's of the stack."""
    generation: int
    """Of the replay that it was last made for; 0: of none."""
    customer_id: str | None
    channel: str
    waited: float
    """Seconds since it is in this state."""


class Window(NamedTuple):
    """Whose messages are counted, by which channel, over how many seconds back from now."""

    tenant: int
    customer_id: str
    channel: str
    seconds: float


async def lock_calls(transaction: Transaction, calls: Collection[Call]) -> dict[Call, CallRow]:
    """The rows of these calls; those that were missing are new and waiting."""
    given = Rows(KEY, sorted(set(calls)))
    await transaction.run(
        "INSERT INTO notification_calls (tenant, subject, kind, call, state, at) "
        f"SELECT r.tenant, r.subject, r.kind, r.call, {CallState.WAITING}, {{now}} FROM {{rows}} "
        "WHERE true ON CONFLICT DO NOTHING",
        given,
    )
    rows = await transaction.run(
        "SELECT c.tenant, c.subject, c.kind, c.call, c.state, c.redemption_id, c.generation, "
        "c.customer_id, c.channel, {now} - c.at AS waited FROM {rows} CROSS JOIN notification_calls c "
        f"WHERE {SAME} ORDER BY c.tenant, c.subject, c.kind, c.call {{lock}}",
        given,
    )
    return {
        Call._make(row[:4]): CallRow(
            CallState(row.state),
            row.redemption_id,
            row.generation,
            row.customer_id,
            row.channel or "",
            row.waited / 1000,
        )
        for row in rows
    }


async def replace_calls(transaction: Transaction, rows: Mapping[Call, CallRow]) -> None:
    """Overwrite rows that are locked."""
    columns = {"state": "smallint", "redemption_id": "text", "generation": "integer"}
    columns |= {"customer_id": "text", "channel": "text"}
    if rows:
        await transaction.run(
            "UPDATE notification_calls SET state = r.state, redemption_id = r.redemption_id, "
            "generation = r.generation, customer_id = r.customer_id, channel = r.channel, at = {now} "
            f"FROM {{rows}} WHERE {SAME_UPDATED}",
            Rows(KEY | columns, [(*call, int(rows[call].state), *rows[call][1:5]) for call in sorted(rows)]),
        )


async def note_calls(transaction: Transaction, notes: Iterable[tuple[Call, str, CallState]]) -> None:
    """What came of calls, each with the redemption that it is made for: nobody else's word counts."""
    await transaction.run(
        f"UPDATE notification_calls SET state = r.state FROM {{rows}} WHERE {SAME_UPDATED} "
        "AND notification_calls.redemption_id = r.redemption_id",
        Rows(
            KEY | {"redemption_id": "text", "state": "smallint"},
            [(*call, redemption_id, int(state)) for call, redemption_id, state in sorted(notes)],
        ),
    )


async def cancel_calls(transaction: Transaction, calls: Collection[Call]) -> set[Call]:
    """Those of these calls that nobody has made, nor ever will."""
    unmade = ", ".join(
        str(int(state)) for state in (CallState.WAITING, CallState.FAILED, CallState.CANCELLED)
    )
    rows = await transaction.run(
        f"UPDATE notification_calls SET state = {CallState.CANCELLED} FROM {{rows}} "
        f"WHERE {SAME_UPDATED} AND notification_calls.state IN ({unmade}) "
        f"RETURNING {', '.join(f'notification_calls.{name}' for name in KEY)}",
        Rows(KEY, sorted(set(calls))),
    )
    return {Call._make(row) for row in rows}


async def count_messages(transaction: Transaction, windows: Sequence[Window]) -> list[int]:
    """How many messages were begun or accepted, in the order asked. Holds each customer's count until the
    transaction ends."""
    if transaction.dialect == "postgresql":
        for one in sorted(windows):
            # Two workers would each count without the other's message.
            await transaction.run(
                "SELECT pg_advisory_xact_lock(hashtextextended(CAST(:whose AS text), 0))",
                whose=f"notifications:{one.tenant}:{one.channel}:{one.customer_id}",
            )
    rows = await transaction.run(
        "SELECT r.place, count(*) AS sent FROM {rows} CROSS JOIN notification_calls c "
        "WHERE c.customer_id = r.customer_id AND c.channel = r.channel AND c.tenant = r.tenant "
        f"AND c.at > {{now}} - r.back AND c.state IN ({CallState.BEGUN}, {CallState.ACCEPTED}) "
        "GROUP BY r.place",
        Rows(
            {
                "place": "integer",
                "tenant": "smallint",
                "customer_id": "text",
                "channel": "text",
                "back": "bigint",
            },
            [(place, *one[:3], int(one.seconds * 1000)) for place, one in enumerate(windows)],
        ),
    )
    sent = {row.place: row.sent for row in rows}
    return [sent.get(place, 0) for place in range(len(windows))]


async def forget_customer(transaction: Transaction, tenant: str, customer_id: str, most: int) -> int:
    """Forget whom some calls were for, and so that they count as this customer's; returns how many. What
    became of them stays: by that none is made twice."""
    number = transaction.names.find(tenant)
    if number is None:
        return 0
    rows = await transaction.run(
        "SELECT tenant, subject, kind, call FROM notification_calls "
        "WHERE customer_id = :customer AND tenant = :tenant "
        "ORDER BY tenant, subject, kind, call LIMIT :most {lock}",
        customer=customer_id,
        tenant=number,
        most=most,
    )
    await transaction.run(
        f"UPDATE notification_calls SET customer_id = NULL FROM {{rows}} WHERE {SAME_UPDATED}",
        Rows(KEY, list(map(tuple, rows))),
    )
    return len(rows)
