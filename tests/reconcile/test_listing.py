"""All rows of a window: 99 pages a query, halves of what is full, rows that arrive meanwhile."""

import msgspec
import pytest

from events.failures import Failure
from reconcile.client import Voucherify as Client
from reconcile.listing import pages
from reconcile.moments import Window, moment
from tests.reconcile.voucherify import Voucherify, at


def add_many(voucherify: Voucherify, count: int, every: float) -> list[str]:
    ids = [f"r_{number:06d}" for number in range(count)]
    voucherify.add(*({"id": id, "date": at(place * every)} for place, id in enumerate(ids)))
    return ids


async def listed(client: Client, window: Window) -> tuple[list[str], list[int]]:
    """The ids in the order they came, and the moments up to which everything was listed."""
    ids, finished = [], []
    async for page in pages(client, window):
        ids += [msgspec.json.decode(row)["id"] for row in page.rows]
        if page.finished is not None:
            finished.append(page.finished)
    return ids, finished


DAY = Window(moment("2026-03-01"), moment("2026-03-02"))


async def test_the_pages_of_a_window_that_is_not_full_are_read_once(
    client: Client, voucherify: Voucherify
) -> None:
    ids = add_many(voucherify, 250, every=10)
    assert await listed(client, DAY) == (ids, [DAY.end])
    assert [query["page"] for query in voucherify.queries] == ["1", "99", "2", "3"]


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 200])
async def test_no_row_is_lost_at_the_edge_of_a_page(
    count: int, client: Client, voucherify: Voucherify
) -> None:
    ids = add_many(voucherify, count, every=1)
    assert (await listed(client, DAY))[0] == ids


async def test_a_row_at_the_first_moment_of_the_window_belongs_to_it(
    client: Client, voucherify: Voucherify
) -> None:
    voucherify.add({"id": "r_first", "date": "2026-03-01T00:00:00.000Z"})
    assert (await listed(client, DAY))[0] == ["r_first"]


async def test_a_window_that_is_full_is_halved(client: Client, voucherify: Voucherify) -> None:
    ids = add_many(voucherify, 12_000, every=7)
    seen, finished = await listed(client, DAY)
    assert sorted(set(seen)) == ids
    assert finished == [(DAY.start + DAY.end) // 2, DAY.end]
    assert len(voucherify.queries) < 12_000 / 100 + 10


async def test_a_burst_is_found_by_halving_as_often_as_needed(client: Client, voucherify: Voucherify) -> None:
    ids = add_many(voucherify, 12_000, every=0.001)
    seen, finished = await listed(client, DAY)
    assert sorted(set(seen)) == ids
    assert finished == sorted(finished)
    assert finished[-1] == DAY.end


async def test_more_rows_in_a_millisecond_than_can_be_listed_are_no_silence(
    client: Client, voucherify: Voucherify
) -> None:
    add_many(voucherify, 9_900, every=0)
    with pytest.raises(Failure, match="one millisecond"):
        await listed(client, DAY)


async def test_rows_that_arrive_while_paging_are_listed_and_hide_none(
    client: Client, voucherify: Voucherify
) -> None:
    ids = add_many(voucherify, 350, every=1)

    def arrive(query: dict[str, str]) -> None:
        number = len(voucherify.queries)
        # One at the end, as new rows come, and one that was committed late, before the page being read.
        voucherify.add({"id": f"r_new_{number}", "date": at(1000 + number)})
        voucherify.add({"id": f"r_late_{number}", "date": at(0.5)})

    voucherify.before_answer = arrive
    seen, _ = await listed(client, DAY)
    assert set(ids) <= set(seen)
    assert {f"r_new_{number}" for number in range(1, 4)} <= set(seen)


async def test_a_window_that_becomes_full_while_it_is_read_is_halved(
    client: Client, voucherify: Voucherify
) -> None:
    ids = add_many(voucherify, 9_799, every=4)

    def arrive(query: dict[str, str]) -> None:
        if query["page"] == "50" and len(voucherify.queries) < 60:
            voucherify.add(*({"id": f"r_new_{number}", "date": at(60_000 + number)} for number in range(300)))

    voucherify.before_answer = arrive
    seen, finished = await listed(client, DAY)
    assert set(seen) == {*ids, *(f"r_new_{number}" for number in range(300))}
    assert len(finished) == 2
