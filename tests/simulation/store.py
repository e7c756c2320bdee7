"""The database of a simulated world: one SQLite in memory, and whatever befalls it."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from storage.sqlite_connection import Told, execute_each, told
from tests.simulation.loop import CURRENT, Machine, pause

BUSY_SECONDS = 4.0
"""How long a transaction waits for another's."""
SLOW_SECONDS = 0.02
SLOW_SHARE = 0.05


class Ills(NamedTuple):
    """How often, per statement or commit."""

    statement: float = 0.0
    lost_statement: float = 0.0
    """It took effect, and nobody was told: the transaction is gone all the same."""
    commit: float = 0.0
    lost_commit: float = 0.0


class Session:
    """One connection's transaction. `broken`: the server ended it."""

    def __init__(self) -> None:
        self.machine = CURRENT.get()
        self.broken = False


class Store:
    """Owns the data, and who may work on it now."""

    def __init__(self, connection: sqlite3.Connection, chance: Random) -> None:
        """`connection`: to an empty database with our schema (tests.simulation.template)."""
        self._chance = chance
        self.connection = connection
        self._open: Session | None = None
        self._changes = connection.total_changes
        self._waiting: list[asyncio.Future[None]] = []
        self.ills = Ills()
        self.cut: set[Machine] = set()
        """Machines that do not reach it."""
        self.down = False
        self.on_commit: Callable[[Machine], None] = lambda machine: None
        self.counted = Counter[str]()
        self.trace: Callable[..., None] = lambda *told: None

    async def begin(self, session: Session) -> None:
        await pause(self._chance, SLOW_SECONDS, SLOW_SHARE)
        self._reach(session)
        if self._open is not None:
            await self._wait(session)
        self._open = session
        self.connection.execute("BEGIN IMMEDIATE")

    async def execute(self, session: Session, sql: str, parameters: Any) -> Told:
        await pause(self._chance, SLOW_SECONDS, SLOW_SHARE)
        self._reach(session)
        ills = self.ills
        if ills.statement:
            self._perhaps(session, ills.statement, "statement failed")
        if isinstance(parameters, list):
            execute_each(self.connection, sql, parameters)
            answer = Told(None, [])
        else:
            answer = told(self.connection.execute(sql, parameters))
        if ills.lost_statement:
            self._perhaps(session, ills.lost_statement, "statement's answer lost")
        return answer

    async def commit(self, session: Session) -> None:
        await pause(self._chance, SLOW_SECONDS, SLOW_SHARE)
        self._reach(session)
        if self.ills.commit:
            self._perhaps(session, self.ills.commit, "commit failed")
        self.connection.execute("COMMIT")
        self._open = None
        if self.connection.total_changes != self._changes:  # else it only read
            self._changes = self.connection.total_changes
            self.trace("committed", session.machine)
            self.on_commit(session.machine)
        self._free()
        if self._chance.random() < self.ills.lost_commit:
            self._count("commit's answer lost")
            raise outage("the server closed the connection")
        await pause(self._chance, SLOW_SECONDS, SLOW_SHARE)

    def end(self, session: Session) -> None:
        """Roll back, whatever became of it."""
        session.broken = True
        if self._open is session:
            self.connection.execute("ROLLBACK")
            self._free()

    def end_of(self, machine: Machine) -> None:
        """The machine is gone, or stood still inside a transaction for too long."""
        if self._open and self._open.machine is machine:
            self.end(self._open)

    def end_all(self) -> None:
        """The server restarts."""
        if self._open:
            self.end(self._open)

    async def free(self) -> None:
        """Between two transactions."""
        while self._open is not None:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn

    def copy(self) -> sqlite3.Connection:
        """A backup, to be taken between transactions."""
        assert self._open is None
        copy = sqlite3.connect(":memory:")
        self.connection.backup(copy)
        return copy

    def restore(self, backup: sqlite3.Connection) -> None:
        self.end_all()
        backup.backup(self.connection)
        backup.close()

    def ask(self, sql: str, *parameters: Any) -> list[Any]:
        """What a judge wants to know, of what is committed: ask between transactions only."""
        assert self._open is None
        return self.connection.execute(sql, parameters).fetchall()

    @property
    def idle(self) -> bool:
        return self._open is None

    async def _wait(self, session: Session) -> None:
        try:
            async with asyncio.timeout(BUSY_SECONDS):
                await self.free()
        except TimeoutError:
            raise outage("database is locked", sqlite3.SQLITE_BUSY) from None
        if session.machine.dead:
            raise asyncio.CancelledError

    def _free(self) -> None:
        """Whoever waits may try: the first one that gets to run wins."""
        self._open = None
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)

    def _reach(self, session: Session) -> None:
        if session.broken:
            raise outage("the server closed the connection")
        if self.down or session.machine in self.cut:
            self.end(session)
            raise outage("no route to the server", sqlite3.SQLITE_CANTOPEN)

    def _perhaps(self, session: Session, share: float, what: str) -> None:
        if self._chance.random() < share:
            self._count(what)
            self.end(session)
            raise outage("disk I/O error")

    def _count(self, what: str) -> None:
        self.counted[what] += 1
        self.trace(what, CURRENT.get())


def outage(message: str, code: int = sqlite3.SQLITE_IOERR) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(message)
    error.sqlite_errorcode = code
    return error
