"""The peers' cells: each once with nothing to do, once with the effects of `ledger.py`."""

import asyncio
from functools import partial

import asyncpg

from bench.cell import Cell, Command, Stage
from bench.commands import environment
from bench.events import DEAD_LETTERS
from bench.peers.environments import python_of
from bench.peers.ledger import SCHEMA
from bench.peers.spring import java_command

STORED = "SELECT count(*) FROM marks"
JVM_WARM_UP = 10.0


async def _python(stage: Stage, peer: str, *arguments: str) -> Command:
    python = await asyncio.to_thread(python_of, peer)
    await _lay_schema(stage)
    shared = [stage.bootstrap, stage.events.topic, stage.group, stage.database_url]
    return Command([python, "-m", f"bench.peers.with_{peer}", *shared, *arguments], _environment(stage))


async def _java(stage: Stage, threads: int) -> Command:
    command = await asyncio.to_thread(java_command)
    await _lay_schema(stage)
    shared = [stage.bootstrap, stage.events.topic, stage.group, stage.database_url, str(threads)]
    return Command([*command, *shared], _environment(stage))


def _environment(stage: Stage) -> dict[str, str]:
    return environment(stage.bootstrap, stage.events.topic, DEAD_LETTERS)


async def _lay_schema(stage: Stage) -> None:
    if stage.database_url:
        connection = await asyncpg.connect(stage.database_url)
        try:
            await connection.execute(SCHEMA)
        finally:
            await connection.close()


def _peer(title: str, peer: str, *arguments: str, effects: bool) -> Cell:
    async def prepare(stage: Stage) -> Command:
        return await _python(stage, peer, *arguments)

    return _cell(title, prepare, effects)


def _cell(title: str, prepare, effects: bool, **more) -> Cell:  # type: ignore[no-untyped-def]
    if effects:
        return Cell(f"{title}, effects", prepare, store="postgres", stored=STORED, **more)
    return Cell(f"{title}, nothing", prepare, **more)


def _spring(threads: int, effects: bool) -> Cell:
    return _cell(
        f"Spring Kafka batch, {threads} thread{'s' if threads > 1 else ''}",
        partial(_java, threads=threads),
        effects,
        members=threads,
        warm_up=JVM_WARM_UP,
    )


CELLS = (
    _peer("confluent-kafka loop", "confluent", effects=False),
    _peer("confluent-kafka loop", "confluent", effects=True),
    _peer("Quix Streams", "quix", effects=False),
    _peer("Quix Streams", "quix", effects=True),
    _peer("arroyo", "arroyo", effects=False),
    _peer("arroyo", "arroyo", effects=True),
    _peer("faust-streaming", "faust", effects=False),
    _peer("faust-streaming", "faust", effects=True),
    _peer("FastStream batch", "faststream", "batch", "auto", effects=False),
    _peer("FastStream batch", "faststream", "batch", "ack", effects=True),
    _peer("FastStream per message", "faststream", "message", "auto", effects=False),
    _peer("FastStream per message (commits by time)", "faststream", "message", "auto", effects=True),
    _peer("FastStream per message (commits each)", "faststream", "message", "ack", effects=True),
    _spring(1, effects=False),
    _spring(1, effects=True),
    _spring(2, effects=True),
)
