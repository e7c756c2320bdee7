"""The handler under the harness, and what it makes of a CRM that has a bad day."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from crm_sync.handler import CrmSync
from crm_sync.settings import Settings
from fake_crm import FakeCrm, fake_crm

from events.decode import decode
from events.event import RedemptionEvent
from events.failures import Refused, Unavailable
from handlers.protocol import Attempt, Skipped
from handlers.testing import Trial, check_effect_handler, redeemed, rolled_back

MORNING, NOON = "2026-07-01T08:00:00.000Z", "2026-07-01T12:00:00.000Z"


@pytest.fixture(autouse=True)
async def clients_closed(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A handler lives as long as its worker, so nobody closes its client. Left to the collector here, its
    sockets would be some other test's fault."""
    clients: list[httpx.AsyncClient] = []

    class Client(httpx.AsyncClient):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            clients.append(self)

    monkeypatch.setattr(httpx, "AsyncClient", Client)
    yield
    for client in clients:
        await client.aclose()


@asynccontextmanager
async def outside() -> AsyncIterator[Trial]:
    with fake_crm() as crm:
        yield Trial(lambda: CrmSync(Settings(crm.url)), lambda: crm.customers)


async def test_whatever_happens_the_crm_shows_the_last_redemption() -> None:
    await check_effect_handler(
        outside,
        [
            redeemed("r_1", date=MORNING),
            redeemed("r_2", date=NOON),
            rolled_back("r_2", date=NOON),
            redeemed("r_3", customer="cust/2 ü", date=MORNING),
            redeemed("r_4", customer="cust_3", date="yesterday"),
        ],
    )


@pytest.fixture
def crm() -> Iterator[FakeCrm]:
    with fake_crm() as crm:
        yield crm


def attempt(body: bytes, number: int = 1) -> Attempt:
    event = decode(body, "default")
    assert isinstance(event, RedemptionEvent)
    return Attempt(event, body, number, f"crm-sync:{event.tenant}:{event.kind}:{event.redemption_id}")


async def test_the_crm_is_told_under_the_key_of_the_effect(crm: FakeCrm) -> None:
    await CrmSync(Settings(crm.url, "secret")).run(attempt(redeemed("r_1", date=MORNING)))
    assert crm.customers == {
        "/customers/cust_1/last-redemption": {
            "at": "2026-07-01T08:00:00+00:00",
            "redemption": "r_1",
            "status": "redeemed",
        }
    }
    assert crm.keys == ["crm-sync:default:succeeded:r_1"]


async def test_somebody_else_who_writes_at_the_same_time_loses_nothing(crm: FakeCrm) -> None:
    crm.answers = [(404, {}), (412, {})]  # nothing there, and a moment later there was
    await CrmSync(Settings(crm.url)).run(attempt(redeemed("r_1")))
    assert len(crm.customers) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_what_waiting_can_cure_is_tried_again(crm: FakeCrm, status: int) -> None:
    crm.answers = [(status, {"Retry-After": "7"})]
    with pytest.raises(Unavailable) as unavailable:
        await CrmSync(Settings(crm.url)).run(attempt(redeemed()))
    assert unavailable.value.retry_after == 7


async def test_what_the_crm_forbids_is_given_up(crm: FakeCrm) -> None:
    crm.answers = [(403, {})]
    with pytest.raises(Refused):
        await CrmSync(Settings(crm.url)).run(attempt(redeemed()))


async def test_a_crm_that_is_away_is_waited_for(crm: FakeCrm) -> None:
    crm.server_close()
    with pytest.raises(Unavailable):
        await CrmSync(Settings(crm.url)).run(attempt(redeemed()))


async def test_a_redemption_without_a_date_is_skipped(crm: FakeCrm) -> None:
    assert await CrmSync(Settings(crm.url)).run(attempt(redeemed(date="soon"))) == Skipped("no_date")


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n", encoding="utf-8")
    environment = {"CRM_SYNC_URL": "https://crm.example/", "CRM_SYNC_TOKEN_FILE": str(tmp_path / "token")}
    assert Settings.of(environment) == Settings("https://crm.example", "s3cret")
    with pytest.raises(ValueError, match="CRM_SYNC_URL"):
        Settings.of({})
