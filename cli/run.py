"""`redemptions run`, `ingress` and `worker`: the processes."""

from typing import Annotated

import typer

from cli.invocation import settings_of
from cli.loop import run_loop
from cli.process import Roles, serve_roles
from config.settings import RUN_ADMIN_PORT, WORKER_ADMIN_PORT
from events.failures import Misconfigured

app = typer.Typer(help="The processes.")


@app.command()
def run(context: typer.Context) -> None:
    """Everything in one process: ingress, worker, and the embedded log unless Kafka is set. No server needed."""
    settings = settings_of(context)
    run_loop(
        serve_roles(
            settings, Roles(ingress=True, worker=True, admin_port=settings.admin_port_or(RUN_ADMIN_PORT))
        )
    )


@app.command()
def ingress(context: typer.Context) -> None:
    """The HTTP door alone; any number behind a load balancer."""
    settings = settings_of(context)
    if not settings.webhook_secrets:
        raise Misconfigured(
            "webhook_secrets",
            "no webhook secret: set REDEMPTIONS_WEBHOOK_SECRETS or REDEMPTIONS_WEBHOOK_SECRETS_FILE",
        )
    run_loop(serve_roles(settings, Roles(ingress=True, admin_port=settings.admin_port_or(RUN_ADMIN_PORT))))


@app.command()
def worker(
    context: typer.Context,
    handlers: Annotated[
        str,
        typer.Option(
            "--handlers", metavar="A,B", help="Only these handlers, in a consumer group of their own."
        ),
    ] = "",
) -> None:
    """The consumer; any number in one consumer group."""
    settings = settings_of(context)
    only = tuple(name for name in handlers.split(",") if name)
    run_loop(
        serve_roles(
            settings, Roles(worker=True, only=only, admin_port=settings.admin_port_or(WORKER_ADMIN_PORT))
        )
    )
