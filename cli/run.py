"""`redemptions run`, `ingress` and `worker`: the processes."""

from typing import Annotated

import typer

from cli.invocation import settings_of
from cli.loop import run_loop
from cli.process import Roles, serve_roles
from cli.stopping import stop_at_signal, stop_with_parent
from config.settings import RUN_ADMIN_PORT, WORKER_ADMIN_PORT, Settings
from events.failures import Misconfigured

app = typer.Typer(help="The processes.")


@app.command()
def run(context: typer.Context) -> None:
    """Everything in one process, ingress and worker; on the embedded log and SQLite no server is needed."""
    settings = settings_of(context)
    roles = Roles(ingress=True, worker=True, admin_port=settings.admin_port_or(RUN_ADMIN_PORT))
    run_loop(_serve(settings, roles))


@app.command()
def ingress(context: typer.Context) -> None:
    """The HTTP door alone; any number behind a load balancer."""
    settings = settings_of(context)
    if not settings.webhook_secrets:
        raise Misconfigured(
            "webhook_secrets",
            "no webhook secret: set REDEMPTIONS_WEBHOOK_SECRETS or REDEMPTIONS_WEBHOOK_SECRETS_FILE",
        )
    run_loop(_serve(settings, Roles(ingress=True, admin_port=settings.admin_port_or(RUN_ADMIN_PORT))))


@app.command()
def worker(
    context: typer.Context,
    handlers: Annotated[
        str,
        typer.Option(
            "--handlers", metavar="A,B", help="Only these handlers, in a consumer group of their own."
        ),
    ] = "",
    processes: Annotated[
        int, typer.Option("--processes", metavar="N", min=1, help="Worker processes on this machine (Kafka).")
    ] = 1,
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> None:
    """The consumer; any number in one consumer group."""
    settings = settings_of(context)
    only = tuple(name for name in handlers.split(",") if name)
    port = settings.admin_port_or(WORKER_ADMIN_PORT)
    if processes > 1:
        from cli.fleet import Fleet

        config = context.find_root().obj.config_file
        arguments = ["--config", str(config)] if config else []
        arguments += ["--handlers", handlers] if handlers else []
        run_loop(Fleet(settings, processes, arguments).run(port))
    else:
        run_loop(_serve(settings, Roles(worker=True, only=only, admin_port=port), with_parent=child))


async def _serve(settings: Settings, roles: Roles, with_parent: bool = False) -> None:
    stop = stop_at_signal()
    if with_parent:
        stop_with_parent(stop)
    await serve_roles(settings, roles, stop)
