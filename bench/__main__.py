"""`python -m bench`: which benchmarks run, for how long, and where their figures go."""

import asyncio
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from bench import quick as quick_check
from bench.events import Events
from bench.measuring import Limits
from bench.plot import svg
from bench.report import markdown
from bench.results import DIRECTORY, ResultsFile
from bench.runs import (
    Held,
    chosen,
    run_climb,
    run_effects,
    run_growth,
    run_ingress,
    run_latency,
    run_memory,
    run_workers,
)

REDEMPTIONS = (0, 1_000_000, 5_000_000, 10_000_000)
PENDING = (0, 1_000_000, 10_000_000)

app = typer.Typer(help="The benchmarks.", no_args_is_help=True, add_completion=False)

Rounds = Annotated[int, typer.Option(help="Times each cell plays, in turn with the others.")]
Seconds = Annotated[float, typer.Option(help="A play ends then, or when its events do.")]
Count = Annotated[int, typer.Option("--events", help="Events in the topic.")]
Customers = Annotated[int, typer.Option(help="Customers they are of.")]
Only = Annotated[
    list[str] | None, typer.Option(help="Only cells with this in their name; may be given several times.")
]
Into = Annotated[Path | None, typer.Option(help="File of results; what it has already is not played again.")]


def _path(into: Path | None) -> Path:
    return into or DIRECTORY / f"{datetime.now(UTC).date()}.json"


def _file(into: Path | None) -> ResultsFile:
    return ResultsFile(_path(into))


@app.command()
def worker(
    rounds: Rounds = 3,
    seconds: Seconds = 20.0,
    count: Count = 1_000_000,
    customers: Customers = 20_000,
    only: Only = None,
    into: Into = None,
) -> None:
    """The worker beside the raw loop and its peers, on a topic filled beforehand."""
    asyncio.run(
        run_workers(_file(into), Events(count, customers), rounds, Limits(seconds), chosen(only or ()))
    )


@app.command()
def ingress(rounds: Rounds = 3, seconds: Seconds = 20.0, only: Only = None, into: Into = None) -> None:
    """The doors, as fast as they answer and at fixed rates."""
    asyncio.run(run_ingress(_file(into), rounds, seconds, only or ()))


@app.command()
def climb(rounds: Rounds = 3, seconds: Seconds = 3.0, into: Into = None) -> None:
    """The highest rate at which each door still answers within 10, 25, 50 and 100 ms (p99)."""
    asyncio.run(run_climb(_file(into), rounds, seconds))


@app.command()
def latency(seconds: Seconds = 20.0, into: Into = None) -> None:
    """From POST to committed ledger row, at shares of what the worker can do."""
    asyncio.run(run_latency(_file(into), seconds))


@app.command()
def growth(
    redemptions: Annotated[
        list[int] | None, typer.Option(help="Stored ones, in this order; may be given several times.")
    ] = None,
    pending: Annotated[
        list[int] | None, typer.Option(help="Effects that wait while others are claimed, the same way.")
    ] = None,
    rounds: Rounds = 3,
    seconds: Seconds = 20.0,
    into: Into = None,
) -> None:
    """The worker on PostgreSQL beside 0, 1, 5 and 10 million redemptions."""
    stored, waiting = redemptions or REDEMPTIONS, pending or PENDING
    asyncio.run(run_growth(_file(into), stored, waiting, rounds, seconds))


@app.command()
def memory(
    backlog: Annotated[
        int, typer.Option(help="Effects that wait in a store while memory is watched; 0: none.")
    ] = 1_000_000,
    minutes: Annotated[
        float, typer.Option(help="Of a steady play, in which memory is watched; 0: none.")
    ] = 10.0,
    rate: Annotated[int, typer.Option(help="Events a second in it.")] = 1_000,
    seconds: Seconds = 20.0,
    into: Into = None,
) -> None:
    """What the worker on PostgreSQL holds in memory: beside a million effects that wait, and over time."""
    asyncio.run(run_memory(_file(into), Held(backlog, minutes, rate), seconds))


@app.command()
def effects(into: Into = None) -> None:
    """Handlers of 0, 1, 5 and 50 ms, more and more calls at once; one partition's records by the number of
    their keys; what claims cost."""
    uvloop.run(run_effects(_file(into)))


@app.command()
def report(into: Into = None) -> None:
    """Write results as Markdown and SVG beside their file."""
    file = _path(into)
    results = ResultsFile(file).results
    file.with_suffix(".md").write_text(markdown(results))
    if results.measured:
        file.with_suffix(".svg").write_text(svg(results.measured))


@app.command()
def quick(
    keep: Annotated[bool, typer.Option(help="Make these figures the ones to compare with.")] = False,
) -> None:
    """Ours beside the raw loop in two minutes; exit code 1 when it has become slower than it was."""
    raise typer.Exit(asyncio.run(quick_check.run(keep)))


def _end(*_: object) -> None:
    """Told to end, Python would leave brokers, databases and workers behind it; told twice, too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    app()
