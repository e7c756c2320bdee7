"""`redemptions status`: how far behind, what waits, what is dead."""

import asyncio
from typing import Annotated, Any

import typer

from cli.database import opened
from cli.invocation import settings_of
from cli.log import log_of
from cli.loop import run_loop
from cli.options import Json
from cli.output import print_json
from config.settings import Settings
from events.failures import Unavailable
from events.runtime import SystemRuntime
from handlers.loyalty.report import mark_counts
from storage.database import Database
from storage.effect_queries import count_effects, work_remains
from storage.jobs import job_runs
from storage.letter_queries import count_letters

app = typer.Typer(help="How things stand.")
POLL_SECONDS = 0.2


@app.command()
def status(
    context: typer.Context,
    as_json: Json = False,
    group: Annotated[str | None, typer.Option("--group", help="Lag of this consumer group only.")] = None,
    wait_idle: Annotated[
        float | None,
        typer.Option(
            "--wait-idle", metavar="SECONDS", min=0, help="Wait until nothing is left to do; 1: time is up."
        ),
    ] = None,
) -> None:
    """Lag of the consumer groups, effects and dead letters by state."""
    settings = settings_of(context)
    if wait_idle is not None:
        if not run_loop(_wait_idle(settings, group, wait_idle)):
            raise typer.Exit(1)
        if not as_json:
            return
    answer = run_loop(_status(settings, group))
    if as_json:
        print_json(answer)
        return
    print(f"lag           {answer['lag']}")
    for name in ("effects", "dead_letters"):
        print(f"{name:<13} " + "  ".join(f"{count} {state}" for state, count in answer[name].items()))


async def _status(settings: Settings, group: str | None) -> dict[str, Any]:
    async with opened(settings) as database:
        lag = await _lag(settings, group)
        async with database.snapshot() as snapshot:
            effects = await count_effects(snapshot)
            for state, count in (await mark_counts(snapshot)).items():
                effects[state] += count
            letters = await count_letters(snapshot)
    return {"lag": lag, "effects": effects, "dead_letters": letters}


async def _lag(settings: Settings, group: str | None) -> int:
    admin = log_of(settings, SystemRuntime()).admin()
    try:
        lags = await admin.lag([group] if group else None)
        if group is None and settings.consumer_group not in lags:
            # A group that never came yet lags by everything there is.
            lags |= await admin.lag([settings.consumer_group])
    finally:
        await admin.close()
    return sum(lags.values())


async def _wait_idle(settings: Settings, group: str | None, seconds: float) -> bool:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    async with opened(settings, patient=False) as database:
        while True:
            left = max(0.0, end - loop.time())
            try:
                # In the order of the flow: what a job published a moment ago is seen as lag, and so on.
                if (
                    not await _job_runs(database)
                    and await _lag(settings, group) == 0
                    and not await _work_remains(database, left)
                ):
                    return True
            except Unavailable:
                # Workers outlast an outage, and so does who waits for them; one that lasts is the answer.
                if not left:
                    raise
            if not left:
                return False
            await asyncio.sleep(min(POLL_SECONDS, max(left, 0.01)))


async def _work_remains(database: Database, seconds: float) -> bool:
    async with database.snapshot() as snapshot:
        return await work_remains(snapshot, int(seconds * 1000))


async def _job_runs(database: Database) -> bool:
    async with database.snapshot() as snapshot:
        return await job_runs(snapshot)
