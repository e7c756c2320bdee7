"""A receiver of webhooks, and a handler on each database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.handlers.notifications.desk import Desk, desk_at
from tests.handlers.notifications.receiver import Receiver, receiving


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def sqlite_desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk_at(f"sqlite:///{tmp_path / 'store.db'}") as desk:
        yield desk


@pytest.fixture
async def postgres_desk(postgres_database: str) -> AsyncIterator[Desk]:
    async with desk_at(postgres_database) as desk:
        yield desk


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def desk(request: pytest.FixtureRequest) -> Desk:
    desk: Desk = request.getfixturevalue(f"{request.param}_desk")
    return desk
