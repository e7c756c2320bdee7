"""`redemptions doctor`: looks at everything that a deployment gets wrong, and says what to do."""

from collections.abc import Awaitable, Callable

import typer

from cli.database import opened
from cli.invocation import settings_of
from cli.log import log_of
from cli.loop import run_loop
from cli.options import Json
from cli.output import print_json, safe
from cli.points_policy import policy_in
from cli.worker_handlers import handlers_in
from config.settings import Settings
from events.failures import Failure
from events.runtime import SystemRuntime
from storage.handler_states import Standing, handler_states
from storage.schema_version import require_schema

app = typer.Typer(help="Looks for what is wrong.")


@app.command()
def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Check secrets, topics, limits, retention, database and handlers. Exit code 1: something is wrong."""
    settings = settings_of(context)
    checks = run_loop(_examine(settings))
    if as_json:
        print_json([{"check": name, "ok": not wrong, "problems": wrong} for name, wrong in checks.items()])
    else:
        for name, wrong in checks.items():
            print(f"{name:<9} {'ok' if not wrong else 'WRONG'}")
            for problem in wrong:
                print(f"          {safe(problem)}")
    if any(checks.values()):
        raise typer.Exit(1)


async def _examine(settings: Settings) -> dict[str, list[str]]:
    return {
        "secrets": _secrets(settings),
        "topics": await _problems(lambda: _topics(settings)),
        "database": await _problems(lambda: _database(settings)),
        "handlers": await _problems(lambda: _handlers(settings)),
        "guard": await _problems(lambda: _halted(settings)),
    }


async def _problems(check: Callable[[], Awaitable[list[str]]]) -> list[str]:
    try:
        return await check()
    except Failure as failure:
        return [str(failure)]


def _secrets(settings: Settings) -> list[str]:
    if settings.webhook_secrets:
        return []
    return ["no webhook secret is set: `ingress` refuses to start; set REDEMPTIONS_WEBHOOK_SECRETS"]


async def _topics(settings: Settings) -> list[str]:
    admin = log_of(settings, SystemRuntime()).admin()
    try:
        return await admin.check_topics()
    finally:
        await admin.close()


async def _database(settings: Settings) -> list[str]:
    async with opened(settings) as database:
        await require_schema(database)
    return []


async def _handlers(settings: Settings) -> list[str]:
    handlers_in(settings, policy_in(settings), SystemRuntime(), serving=True)
    return []


async def _halted(settings: Settings) -> list[str]:
    try:
        async with opened(settings) as database, database.snapshot() as snapshot:
            states = await handler_states(snapshot)
    except Failure:
        return []  # told of the database already
    halted = [state for state in states.values() if state.standing is Standing.HALTED]
    return [
        f"{each.handler} is halted: {each.reason}; mend it, then `redemptions handlers resume {each.handler}`"
        for each in halted
    ]
