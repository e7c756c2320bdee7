"""The database that the settings ask for."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from cli.loop import run_loop
from config.settings import Settings
from events.runtime import SystemRuntime
from storage.connect import connect
from storage.database import Database, Transaction

T = TypeVar("T")


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    database = connect(settings.database(), SystemRuntime())
    try:
        yield database
    finally:
        await database.close()


def ask(settings: Settings, question: Callable[[Transaction], Awaitable[T]]) -> T:
    """Answer a question from one read-only snapshot, while workers work."""

    async def answer() -> T:
        async with opened(settings) as database, database.snapshot() as snapshot:
            return await question(snapshot)

    return run_loop(answer())
