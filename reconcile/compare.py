"""What Voucherify tells against what the ledger knows: set-based look-ups of facts, nothing written."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from events.event import Kind
from events.failures import Refused
from events.ids import customer_ids, first_fit, is_fit, order_ids
from handlers.loyalty.fact_store import FACTS, ID, SAME_ID
from handlers.loyalty.facts import Facts
from handlers.loyalty.reading import read
from reconcile.events import Told
from reconcile.findings import Different, Extra, Fact, Missing, iso_or_none
from reconcile.moments import Window
from storage.database import Transaction
from storage.erasures import Customer, erasures_of
from storage.rows import Rows

COMPARED = ("order_id", "parent_id", "customer_id", "amount", "total_amount", "total_discount_amount")
"""Not the status of the order, which goes on changing, nor what the list often leaves out."""


async def missing_of(
    snapshot: Transaction, tenant: str, told: Sequence[Told]
) -> tuple[list[tuple[Told, Missing]], list[Different]]:
    """What the ledger lacks of these, and what it knows otherwise."""
    known = await _facts(snapshot, tenant, {each.event.redemption_id for each in told if each.event})
    missing, different = [], []
    for each in told:
        if each.event is None:
            continue
        facts = known.get(each.event.redemption_id)
        if not _has(facts, each.event.kind):
            missing.append((each, _missing(each)))
        elif facts and each.event.kind is Kind.SUCCEEDED and (fields := _differences(each, facts)):
            different.append(Different(facts.redemption_id, fields))
    return missing, different


async def known_erased(snapshot: Transaction, tenant: str, told: Sequence[Told]) -> set[str]:
    """The ids of those rows that are from before the erasure of their customer: they must not come back."""
    named = {each.row_id: customers_named(each, tenant) for each in told}
    erased = await erasures_of(snapshot, {customer for each in named.values() for customer in each})
    return {
        each.row_id
        for each in told
        if any(each.date is None or each.date < erased[one] for one in named[each.row_id] & erased.keys())
    }


def customers_named(told: Told, tenant: str) -> set[Customer]:
    return {(tenant, id) for id in customer_ids(told.event.data) if is_fit(id)} if told.event else set()


async def dated(snapshot: Transaction, tenant: str, window: Window) -> AsyncIterator[Facts]:
    """The successes known of a window, by their own date; those without one can be told of none."""
    sql = (
        f"SELECT {FACTS} FROM facts f WHERE f.tenant = :tenant AND f.succeeded "  # noqa: S608 - our own names
        "AND f.date >= :start AND f.date < :end ORDER BY f.date, f.redemption_id"
    )
    number = snapshot.names.find(tenant)
    async for row in snapshot.stream(sql, tenant=number, start=window.start, end=window.end):
        yield Facts(*row)


def extras_of(facts: Facts, kinds: Iterable[Kind]) -> Iterator[Extra]:
    for kind in kinds:
        yield Extra(kind, facts.redemption_id, facts.customer_id, facts.order_id, iso_or_none(facts.date))


async def _facts(snapshot: Transaction, tenant: str, ids: Iterable[str]) -> dict[str, Facts]:
    number = snapshot.names.find(tenant)
    if number is None:
        return {}
    rows = await snapshot.run(
        f"SELECT {FACTS} FROM {{rows}} CROSS JOIN facts f WHERE {SAME_ID}",  # noqa: S608 - our own names
        Rows(ID, [(number, id) for id in sorted(ids)]),
    )
    return {row.redemption_id: Facts(*row) for row in rows}


def _has(facts: Facts | None, kind: Kind) -> bool:
    if facts is None:
        return False
    return facts.succeeded if kind is Kind.SUCCEEDED else facts.reversed


def _missing(told: Told) -> Missing:
    event = told.event
    assert event is not None  # the caller has looked
    return Missing(
        kind=event.kind,
        redemption_id=event.redemption_id,
        rollback_id=event.rollback_id,
        customer_id=first_fit(customer_ids(event.data)),
        order_id=first_fit(order_ids(event.data)),
        date=iso_or_none(told.date),
    )


def _differences(told: Told, ours: Facts) -> dict[str, dict[str, Fact]]:
    """What Voucherify tells and we know otherwise, or not at all. What it leaves out differs from nothing."""
    assert told.event is not None  # the caller has looked
    try:
        theirs = read(told.event)
    except Refused:
        return {}  # A row that the ledger cannot read has nothing to say against the facts.
    return {
        field: {"ours": mine, "voucherify": other}
        for field in COMPARED
        if (other := getattr(theirs, field)) is not None
        and (mine := getattr(ours, field)) != other
        and not (mine is None and other == 0 and field == "total_discount_amount")
    }
