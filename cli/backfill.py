"""`redemptions backfill`: one handler over what the log holds of a time."""

from typing import Annotated, Any

import typer

from cli.database import opened
from cli.filling import Filling, Wanted
from cli.invocation import settings_of
from cli.loop import run_loop
from cli.operator import deed_of
from cli.options import Json, iso, line, moment_ms
from cli.output import complain, print_json
from cli.points_policy import policy_in
from cli.stopping import stop_at_signal
from cli.worker_handlers import handlers_in
from config.settings import Settings
from events.runtime import SystemRuntime
from handlers.loyalty.handler import Loyalty
from handlers.loyalty.policy import Policy
from handlers.loyalty.policy_history import admit
from handlers.protocol import Handlers
from storage.audit import audited
from storage.schema_version import require_schema

app = typer.Typer(help="One handler over the past.")
GO_ON = "the same command goes on where this one stopped"


@app.command()
def backfill(
    context: typer.Context,
    handler: Annotated[str, typer.Option("--handler", metavar="HANDLER", callback=line)],
    begin: Annotated[
        int, typer.Option("--from", parser=moment_ms, metavar="TIME", help="From this date or time (UTC).")
    ],
    end: Annotated[
        int | None,
        typer.Option("--to", parser=moment_ms, metavar="TIME", help="Before this one. Default: the end."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option("--group", callback=line, help="The consumer group that runs the handler, for replays."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run one handler over the records that the log holds of a time: a new handler, say.

    What it has done is not done again. Workers and their group go on undisturbed. Broken off, the same
    command goes on where it was. Exit code 1: it was stopped, or the guard has halted the handler.
    """
    settings = settings_of(context)
    if end is not None and begin >= end:
        raise typer.BadParameter("--from must be earlier than --to")
    policy = policy_in(settings)
    handlers = _chosen(settings, policy, handler)
    wanted = Wanted(handler, begin, end, group or settings.consumer_group)
    answer = run_loop(_backfill(settings, policy, handlers, wanted, not as_json))
    if as_json:
        print_json(answer)
    else:
        _tell(answer)
    if not answer["complete"]:
        raise typer.Exit(1)


def _chosen(settings: Settings, policy: Policy, handler: str) -> Handlers:
    chosen = handlers_in(settings, policy, SystemRuntime(), serving=True, only=(handler,))
    chosen = chosen._replace(observers=())
    if not chosen.transactional and not chosen.effect:
        raise typer.BadParameter(f"the handler {handler} keeps nothing, so there is nothing to fill back")
    return chosen


async def _backfill(
    settings: Settings, policy: Policy, handlers: Handlers, wanted: Wanted, visible: bool
) -> dict[str, Any]:
    stop = stop_at_signal()
    what = {"from": iso(wanted.begin), "to": iso(wanted.end), "group": wanted.group}
    deed = deed_of("backfill", what, subject=wanted.handler)
    async with opened(settings) as database:
        await require_schema(database)
        if wanted.handler == Loyalty.name:
            await admit(database, policy)  # as for a worker: one that changes the past is refused
        async with handlers.opened(database), audited(database, deed) as counts:
            answer = await Filling(settings, handlers, wanted, database, stop).complete(visible)
            counts |= {"records": answer["records"], "complete": int(answer["complete"])}
    return answer


def _tell(answer: dict[str, Any]) -> None:
    results = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in answer["results"].items())
    print(f"{answer['records']} records: {results or 'none for this handler'}")
    if answer["pending"]:
        print(f"{answer['pending']} effects wait for a later try, which workers that run the handler make")
    if answer["halted"]:
        complain(f"the handler {answer['handler']} stands still: see `redemptions handlers list`; {GO_ON}")
    elif not answer["complete"]:
        complain(f"stopped; {GO_ON}")
