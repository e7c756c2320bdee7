"""The cells that are ours: the raw loop, and the worker as it is deployed."""

import asyncio
import subprocess
import sys
from functools import partial

from bench.cell import Cell, Command, Stage
from bench.commands import REDEMPTIONS, environment
from bench.events import DEAD_LETTERS

LEDGER_ROWS = "SELECT count(*) FROM entries"
LOG_CHANNEL = "bench.log_channel:LogChannel"
RAW_LOOP = "raw loop"


async def _raw_loop(stage: Stage) -> Command:
    arguments = [sys.executable, "-m", "bench.raw_loop", stage.bootstrap, stage.events.topic, stage.group]
    return Command(arguments, environment(stage.bootstrap, stage.events.topic, DEAD_LETTERS))


async def _worker(stage: Stage, *, processes: int = 1, handlers: str = "") -> Command:
    settings: dict[str, object] = {
        "database_url": stage.database_url,
        "data_dir": stage.directory,
        "consumer_group": stage.group,
        "admin_port": stage.admin_port,
    }
    if handlers:
        settings["handlers"] = handlers
    env = environment(stage.bootstrap, stage.events.topic, DEAD_LETTERS, **settings)
    upgrade = [*REDEMPTIONS, "db", "upgrade"]
    await asyncio.to_thread(subprocess.run, upgrade, env=env, check=True, capture_output=True)
    return Command([*REDEMPTIONS, "worker", "--processes", str(processes)], env)


def _ours(store: str, *, processes: int = 1, notify: bool = False) -> Cell:
    beside = " + notification" if notify else ""
    spread = f", {processes} processes" if processes > 1 else ""
    prepare = partial(_worker, processes=processes, handlers=LOG_CHANNEL if notify else "")
    return Cell(
        f"ours: loyalty{beside}, {store}{spread}",
        prepare,
        store="sqlite" if store == "SQLite" else "postgres",
        stored=LEDGER_ROWS,
        counted="effects" if notify else "offsets",
        members=processes,
    )


CELLS = (
    Cell(RAW_LOOP, _raw_loop),
    _ours("SQLite"),
    _ours("PostgreSQL"),
    _ours("SQLite", notify=True),
    _ours("PostgreSQL", notify=True),
    _ours("SQLite", processes=2),
    _ours("PostgreSQL", processes=2),
    _ours("PostgreSQL", processes=4),
)
