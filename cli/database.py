"""The database that the settings ask for."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from cli.loop import run_loop
from config.settings import Settings
from events.failures import Misconfigured
from events.runtime import SystemRuntime
from storage.connect import connect
from storage.database import Database, Transaction

T = TypeVar("T")


@asynccontextmanager
async def opened(
    settings: Settings, *, create: bool = False, patient: bool = True
) -> AsyncIterator[Database]:
    """The database. `create`: it may be a SQLite file that is not there yet. `patient`: its snapshots may
    take their time."""
    require_file(settings.database(), create=create)
    database = connect(settings.database(), SystemRuntime(), patient=patient)
    try:
        yield database
    finally:
        await database.close()


def require_file(url: str, *, create: bool) -> None:
    """Raise Misconfigured where SQLite would make an empty file, or only say that it is unable to."""
    file = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not (file.parent if create else file).exists():
        remedy = f"make the directory {file.parent}" if create else "run `redemptions db upgrade`"
        raise Misconfigured(
            "schema_missing",
            f"there is no database at {file}: {remedy}, "
            "or set REDEMPTIONS_DATA_DIR or REDEMPTIONS_DATABASE_URL",
        )


def ask(settings: Settings, question: Callable[[Transaction], Awaitable[T]]) -> T:
    """Answer a question from one read-only snapshot, while workers work."""

    async def answer() -> T:
        async with opened(settings) as database, database.snapshot() as snapshot:
            return await question(snapshot)

    return run_loop(answer())
