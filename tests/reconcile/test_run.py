"""A whole run: what is missing, extra and different, on both databases; resuming; enqueueing."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from broker.protocols import Headers, TooLarge
from events.decode import decode
from events.event import RedemptionEvent
from events.failures import Failure, Misconfigured, Unavailable
from events.runtime import SystemRuntime
from handlers.loyalty.handler import Loyalty
from handlers.loyalty.report import balance
from reconcile.client import Voucherify as Client
from reconcile.enqueueing import Enqueueing
from reconcile.findings import Different, Extra, Missing
from reconcile.journal import Journal, Listed, Scope
from reconcile.moments import Window, moment
from reconcile.run import Run
from storage.database import Database
from storage.erasures import put_tombstone
from tests.reconcile.voucherify import Voucherify, a_failure, a_redemption, a_rollback, at, status

MARCH = Window(moment("2026-03-01"), moment("2026-04-01"))
NOW = moment("2026-05-01")
HOUR, DAY = 3_600, 86_400


class Log:
    """A producer that remembers."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes | None, bytes, dict[str, bytes]]] = []
        self.largest = 1_000_000

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def append(
        self, topic: str, value: bytes, *, key: bytes | None, headers: Headers
    ) -> tuple[int, int]:
        if len(value) > self.largest:
            raise TooLarge
        self.records.append((key, value, dict(headers)))
        return 0, len(self.records)


class Books:
    """The ledger to compare with, and a journal for each run."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.directory = directory
        self.log = Log()

    async def apply(self, *bodies: bytes | dict[str, Any], tenant: str = "default") -> None:
        """As the worker does it, a body a batch."""
        for body in bodies:
            event = decode(body if isinstance(body, bytes) else json.dumps(body).encode(), tenant)
            assert isinstance(event, RedemptionEvent)
            async with self.database.transaction() as transaction:
                await Loyalty().apply([event], transaction)

    async def balance(self, customer: str = "cust_1", tenant: str = "default") -> int:
        async with self.database.snapshot() as snapshot:
            return await balance(snapshot, tenant, customer)

    def journal(self, enqueue: bool = False, restart: bool = False, until: int | None = MARCH.end) -> Journal:
        scope = Scope("account", "default", MARCH.start, until, enqueue)
        return Journal(self.directory, scope, now=NOW, restart=restart)

    async def reconcile(self, client: Client, *, enqueue: bool = False) -> Journal:
        """A run to its end; the journal is left open for questions."""
        journal = self.journal(enqueue)
        with ExitStack() as on_failure:
            on_failure.callback(journal.close)
            await self.run(client, journal, enqueue).complete()
            on_failure.pop_all()
        return journal

    def run(self, client: Client, journal: Journal, enqueue: bool = False) -> Run:
        enqueueing = Enqueueing(self.log, "events", "default", SystemRuntime()) if enqueue else None
        return Run(client, self.database, journal, Window(MARCH.start, journal.until), NOW, enqueueing)


def webhook(row: dict[str, Any]) -> dict[str, Any]:
    """The payload that the webhook of a redemption in the list brings."""
    voucher = {"id": "v_1", "type": "DISCOUNT_VOUCHER", "code": "SPRING"}
    redemption = row | {"status": "SUCCEEDED"}
    return {"customer": row["customer"], "order": row["order"], "voucher": voucher, "redemption": redemption}


def undone(row: dict[str, Any]) -> dict[str, Any]:
    original = row["redemption"]
    return {"redemption": {"id": original, "result": "SUCCESS"}, "redemption_rollback": row}


@pytest.fixture
def books(database: Database, tmp_path: Path) -> Books:
    return Books(database, tmp_path / "reconcile")


async def found(books: Books, client: Client) -> tuple[list[Missing], list[Extra], list[Different]]:
    journal = books.journal()
    await books.run(client, journal).complete()
    answer = list(journal.of(Missing)), list(journal.of(Extra)), list(journal.of(Different))
    journal.discard()
    return answer


async def test_what_both_have_is_no_finding(books: Books, client: Client, voucherify: Voucherify) -> None:
    sale, rollback = a_redemption("r_1", DAY), a_rollback("r_1", 2 * DAY)
    voucherify.add(sale, rollback, a_failure("rf_1", DAY))
    await books.apply(webhook(sale), undone(rollback))
    assert await found(books, client) == ([], [], [])


async def test_what_only_voucherify_has_is_missing(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    voucherify.add(a_redemption("r_1", DAY), a_rollback("r_1", 2 * DAY), a_failure("rf_1", DAY))
    missing, extra, different = await found(books, client)
    assert [(each.kind, each.redemption_id, each.date) for each in missing] == [
        ("succeeded", "r_1", at(DAY)),
        ("rolled_back", "r_1", at(2 * DAY)),
    ]
    assert (missing[0].customer_id, missing[0].order_id, missing[1].rollback_id) == (
        "cust_1",
        "ord_r_1",
        "rr_1",
    )
    assert (extra, different) == ([], [])


async def test_a_rollback_whose_success_is_known_is_missing_alone(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    sale = a_redemption("r_1", DAY)
    await books.apply(webhook(sale))
    voucherify.add(
        sale | {"status": "ROLLED_BACK"}, a_rollback("r_1", 2 * DAY), a_rollback("r_1", 2 * DAY, id="rr_2")
    )
    missing, extra, different = await found(books, client)
    assert [(each.kind, each.redemption_id) for each in missing] == [("rolled_back", "r_1")]
    assert (extra, different) == ([], [])


async def test_a_placeholder_for_a_parent_is_not_the_parent(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    parent = a_redemption("r_parent", DAY, voucher=None, related_object_type="redemption")
    child = a_redemption("r_child", DAY, redemption="r_parent")
    await books.apply(webhook(child))
    voucherify.add(parent, child)
    missing, _, _ = await found(books, client)
    assert [each.redemption_id for each in missing] == ["r_parent"]


async def test_another_tenants_redemption_is_missing_all_the_same(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    sale = a_redemption("r_1", DAY)
    await books.apply(webhook(sale), tenant="other")
    voucherify.add(sale)
    missing, extra, _ = await found(books, client)
    assert [each.redemption_id for each in missing] == ["r_1"]
    assert extra == []


async def test_what_only_the_ledger_has_is_extra(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    sale, other = a_redemption("r_1", DAY), a_redemption("r_2", 2 * DAY)
    await books.apply(webhook(sale), webhook(other), undone(a_rollback("r_2", 2 * DAY)))
    _, extra, _ = await found(books, client)
    assert [(each.kind, each.redemption_id) for each in extra] == [
        ("succeeded", "r_1"),
        ("succeeded", "r_2"),
        ("rolled_back", "r_2"),
    ]


async def test_a_reversal_that_voucherify_knows_nothing_of_is_extra(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    sale = a_redemption("r_1", DAY)
    voucherify.add(sale)
    await books.apply(webhook(sale), undone(a_rollback("r_1", 2 * DAY)))
    _, extra, _ = await found(books, client)
    assert [(each.kind, each.redemption_id) for each in extra] == [("rolled_back", "r_1")]


async def test_a_rollback_after_the_window_is_no_extra(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    sale, rollback = a_redemption("r_1", DAY), a_rollback("r_1", 45 * DAY)
    voucherify.add(sale, rollback)
    await books.apply(webhook(sale), undone(rollback))
    assert await found(books, client) == ([], [], [])


async def test_a_redemption_whose_row_says_that_it_was_rolled_back_is_no_extra(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    sale = a_redemption("r_1", DAY)
    voucherify.add(sale | {"status": "ROLLED_BACK"})
    await books.apply(webhook(sale), undone(a_rollback("r_1", 2 * DAY)))
    assert await found(books, client) == ([], [], [])


async def test_what_lies_outside_the_window_is_no_finding(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    await books.apply(*(webhook(a_redemption(f"r_ours_{at}", at)) for at in (-1, 31 * DAY)))
    voucherify.add(*(a_redemption(f"r_theirs_{at}", at) for at in (-1, 31 * DAY)))
    assert await found(books, client) == ([], [], [])


async def test_a_date_that_is_not_quite_the_time_of_creation_is_no_finding(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    first, last = a_redemption("r_1", 0.5), a_redemption("r_2", 31 * DAY - 0.5)
    voucherify.add(first, created_at=at(-1))
    voucherify.add(last, created_at=at(31 * DAY + 1))
    await books.apply(webhook(first), webhook(last))
    assert await found(books, client) == ([], [], [])


async def test_a_row_without_a_date_is_compared(books: Books, client: Client, voucherify: Voucherify) -> None:
    voucherify.add(a_redemption("r_1") | {"date": None}, created_at=at(DAY))
    missing, _, _ = await found(books, client)
    assert [(each.redemption_id, each.date) for each in missing] == [("r_1", None)]


async def test_facts_without_a_date_are_extra_in_no_window(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    await books.apply(webhook(a_redemption("r_1") | {"date": None}), undone(a_rollback("r_tombstone")))
    assert await found(books, client) == ([], [], [])


async def test_other_values_are_shown_with_both_sides(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    sale = a_redemption("r_1", DAY)
    voucherify.add(sale)
    ours = sale | {"order": sale["order"] | {"total_amount": 9_000}, "customer": {"id": "cust_2"}}
    await books.apply(webhook(ours))
    _, _, different = await found(books, client)
    assert different == [
        Different(
            "r_1",
            {
                "customer_id": {"ours": "cust_2", "voucherify": "cust_1"},
                "total_amount": {"ours": 9_000, "voucherify": 10_000},
            },
        )
    ]


async def test_a_fact_that_a_designed_payload_left_out_differs(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    voucherify.add(a_redemption("r_1", DAY))
    await books.apply({"customer": {"id": "cust_1"}, "redemption": {"id": "r_1", "date": at(DAY)}})
    _, _, different = await found(books, client)
    assert different[0].fields["total_amount"] == {"ours": None, "voucherify": 10_000}


async def test_what_the_list_leaves_out_differs_from_nothing(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    sale = a_redemption("r_1", DAY)
    voucherify.add(sale | {"order": None, "customer_id": None, "customer": None})
    await books.apply(webhook(sale))
    assert await found(books, client) == ([], [], [])


async def test_no_discount_and_a_discount_of_nothing_are_equal(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    sale = a_redemption("r_1", DAY)
    order = {name: value for name, value in sale["order"].items() if name != "total_discount_amount"}
    voucherify.add(sale | {"order": order | {"total_discount_amount": 0}})
    await books.apply(webhook(sale | {"order": order}))
    assert await found(books, client) == ([], [], [])


async def test_a_row_nobody_can_read_is_counted_and_hides_no_other(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    voucherify.add(a_redemption("r_1", DAY))
    voucherify.add_raw(at(DAY), b'{"object": "redemption"}')
    voucherify.add_raw(at(DAY), b'"text"')
    journal = await books.reconcile(client)
    assert (journal.missing, journal.unreadable, journal.checked) == (1, 2, 1)
    journal.discard()


async def test_half_a_surrogate_pair_hides_no_other_row(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    voucherify.add(a_redemption("r_1", DAY), a_redemption("r_2", DAY, metadata={"name": "\ud800"}))
    missing, _, _ = await found(books, client)
    assert {each.redemption_id for each in missing} == {"r_1", "r_2"}


async def test_rows_that_come_twice_are_one(books: Books, client: Client, voucherify: Voucherify) -> None:
    voucherify.add(*(a_redemption(f"r_{number:03d}", number) for number in range(1, 251)))

    def arrive(query: dict[str, str]) -> None:
        voucherify.add(a_redemption(f"r_late_{len(voucherify.queries)}", 0.5))

    voucherify.before_answer = arrive
    journal = await books.reconcile(client)
    ids = [each.redemption_id for each in journal.of(Missing)]
    assert len(ids) == len(set(ids)) == journal.checked
    assert {f"r_{number:03d}" for number in range(1, 251)} <= set(ids)
    journal.discard()


async def test_what_is_enqueued_earns_what_the_webhook_would_have_earned(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    """A stack, a rollback, spent points and an anonymous sale."""
    rows = [
        a_redemption("r_1", DAY),
        a_redemption("r_2", DAY, status="ROLLED_BACK"),
        a_rollback("r_2", 2 * DAY),
        a_redemption("r_3", DAY, loyalty_card={"points": 10}, order=None),
        a_redemption("r_4", DAY, customer=None),
        a_redemption("r_child", DAY, redemption="r_parent", order={"id": "ord_s", "total_amount": 15_000}),
        a_redemption(
            "r_parent",
            DAY,
            voucher=None,
            related_object_type="redemption",
            order={"id": "ord_s", "total_amount": 8_000, "total_discount_amount": 12_000},
        ),
    ]
    voucherify.add(*rows)
    journal = await books.reconcile(client, enqueue=True)
    assert (journal.missing, journal.enqueued) == (7, 7)
    journal.discard()
    for key, value, headers in books.log.records:
        assert headers["redemptions-source"] == b"reconcile"
        assert {"tenant", "received-at", "request-id"} <= headers.keys()
        assert key in (b"cust_1", b"ord_r_4")
        await books.apply(value)
    for row in rows:
        is_parent = row["id"] == "r_parent"
        body = undone(row) if row["object"] == "redemption_rollback" else webhook(row)
        if row["id"] == "r_3":
            body["voucher"] = {"type": "LOYALTY_CARD"}
        await books.apply(body | ({"voucher": None} if is_parent else {}), tenant="by-webhook")
    assert await books.balance() == await books.balance(tenant="by-webhook") == 100 + 80
    assert await found(books, client) == ([], [], [])


async def test_enqueueing_twice_earns_once(books: Books, client: Client, voucherify: Voucherify) -> None:
    voucherify.add(a_redemption("r_1", DAY))
    for _ in range(2):
        (await books.reconcile(client, enqueue=True)).discard()
    assert len(books.log.records) == 2
    await books.apply(*(value for _, value, _ in books.log.records))
    assert await books.balance() == 100


async def test_what_the_log_finds_too_large_stays_missing(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    voucherify.add(a_redemption("r_1", DAY), a_redemption("r_2", DAY, metadata={"x": "x" * 5_000}))
    books.log.largest = 5_000
    journal = await books.reconcile(client, enqueue=True)
    assert (journal.missing, journal.enqueued) == (2, 1)
    journal.discard()


async def test_an_interrupted_run_goes_on_after_the_last_window_it_finished(
    sqlite: Database, tmp_path: Path, client: Client, voucherify: Voucherify
) -> None:
    books = Books(sqlite, tmp_path / "reconcile")
    # Two halves of a month, each of which fits, the whole does not.
    voucherify.add(*(a_redemption(f"r_{number:05d}", number * 260) for number in range(1, 10_201)))
    known = a_redemption("r_00001", 260)
    await books.apply(webhook(known), webhook(a_redemption("r_ours", 3 * DAY)))

    def fail(query: dict[str, str]) -> None:
        if query["created_at[after]"] > "2026-03-16" and query["page"] == "3":
            voucherify.troubles = [status(500)] * 6

    voucherify.before_answer = fail
    with pytest.raises(Unavailable):
        await books.reconcile(client)
    voucherify.before_answer = lambda query: None
    voucherify.troubles.clear()
    voucherify.queries.clear()
    journal = await books.reconcile(client)
    assert min(query["created_at[after]"] for query in voucherify.queries) > "2026-03-16"
    ids = [each.redemption_id for each in journal.of(Missing)]
    assert len(ids) == len(set(ids)) == 10_199
    assert journal.checked == 10_200
    assert [each.redemption_id for each in journal.of(Extra)] == ["r_ours"]
    journal.discard()


async def test_a_run_that_is_over_or_not_wanted_any_more_is_not_taken_up(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    journal = books.journal()
    journal.finish(MARCH.end)
    journal.close()
    resumed = books.journal()
    assert resumed.frontier == MARCH.end
    resumed.close()
    restarted = books.journal(restart=True)
    assert restarted.frontier is None
    restarted.finish(MARCH.end)
    restarted.discard()
    fresh = books.journal()
    assert fresh.frontier is None
    fresh.discard()
    assert list(books.directory.iterdir()) == []


def test_a_run_to_the_present_keeps_its_end_when_it_is_taken_up(tmp_path: Path) -> None:
    scope = Scope("account", "default", MARCH.start, None, False)
    journal = Journal(tmp_path, scope, now=NOW, restart=False)
    journal.finish(MARCH.start + 1)
    journal.close()
    later = Journal(tmp_path, scope, now=NOW + 1_000_000, restart=False)
    assert later.until == NOW
    later.discard()


def test_a_line_that_a_killed_run_left_half_written_is_dropped(tmp_path: Path) -> None:
    scope = Scope("account", "default", MARCH.start, None, False)
    killed = Journal(tmp_path, scope, now=NOW, restart=False)
    killed.add(Listed(["r_1"], [], []))
    killed.finish(MARCH.start + 1)
    killed.add(Listed(["r_2"], [], []))
    killed.close()
    path = tmp_path / f"{scope.name}.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    journal = Journal(tmp_path, scope, now=NOW, restart=False)
    assert journal.rows == {"r_1"}
    journal.discard()


def test_the_progress_of_a_run_that_was_given_up_does_not_vouch_for_the_next(tmp_path: Path) -> None:
    scope = Scope("account", "default", MARCH.start, None, False)
    given_up = Journal(tmp_path, scope, now=NOW, restart=False)
    given_up.add(Listed(["r_1"], [], []))
    given_up.finish(MARCH.end)
    given_up.close()
    restarted = Journal(tmp_path, scope, now=NOW, restart=True)
    restarted.add(Listed(["r_2"], [], []), Listed(["r_3"], [], []))
    restarted.close()
    journal = Journal(tmp_path, scope, now=NOW, restart=False)
    assert (journal.frontier, journal.rows) == (None, set())
    journal.discard()


def test_two_runs_of_one_window_do_not_write_one_journal(tmp_path: Path) -> None:
    scope = Scope("account", "default", MARCH.start, None, False)
    journal = Journal(tmp_path, scope, now=NOW, restart=False)
    with pytest.raises(Misconfigured, match="already"):
        Journal(tmp_path, scope, now=NOW, restart=False)
    journal.discard()


@pytest.mark.parametrize("content", [b"", b"{", b'{"until": 1, "frontier": 2, "size": 1000}'])
def test_a_progress_file_that_makes_no_sense_begins_anew(tmp_path: Path, content: bytes) -> None:
    scope = Scope("account", "default", MARCH.start, None, False)
    (tmp_path / f"{scope.name}.json").write_bytes(content)
    journal = Journal(tmp_path, scope, now=NOW, restart=False)
    assert (journal.frontier, journal.until) == (None, NOW)
    journal.discard()


async def test_an_outage_of_the_log_is_no_progress(
    books: Books, client: Client, voucherify: Voucherify, monkeypatch: pytest.MonkeyPatch
) -> None:
    voucherify.add(a_redemption("r_1", DAY))

    async def fail(*_: Any, **__: Any) -> tuple[int, int]:
        raise Unavailable("log_unavailable", "the log is away")

    monkeypatch.setattr(books.log, "append", fail)
    with pytest.raises(Failure):
        await books.reconcile(client, enqueue=True)
    monkeypatch.undo()
    journal = await books.reconcile(client, enqueue=True)
    assert (journal.missing, journal.enqueued, len(books.log.records)) == (1, 1, 1)
    journal.discard()


async def test_what_is_missing_of_an_erased_customer_is_passed_over(
    books: Books, client: Client, voucherify: Voucherify
) -> None:
    voucherify.add(a_redemption("r_1", DAY), a_redemption("r_2", DAY, "cust_2"))
    async with books.database.transaction() as transaction:
        await put_tombstone(transaction, ("default", "cust_1"))
    journal = await books.reconcile(client, enqueue=True)
    assert [missing.redemption_id for missing in journal.of(Missing)] == ["r_2"]
    assert (journal.erased, journal.enqueued) == (1, 1)
    assert [key for key, _, _ in books.log.records] == [b"cust_2"]
    journal.close()
