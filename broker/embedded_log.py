"""Owns this process's threads on log.db: one writes, one reads, one notices what other processes append."""

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from broker import embedded_records as records
from broker import embedded_store as store
from broker.topics import Topics
from events.failures import Unavailable
from events.runtime import Runtime

log = logging.getLogger(__name__)

POLL_SECONDS = 0.008
"""How often other processes' appends are looked for: a look at shared memory costs next to nothing."""
TRIM_SECONDS = 600.0

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


class EmbeddedLog:
    """The log of one machine, shared by the producer, consumer and admin of a process."""

    def __init__(self, path: Path, topics: Topics, runtime: Runtime) -> None:
        self.path = path
        self.topics = topics
        self.runtime = runtime
        self.appended: set[asyncio.Event] = set()
        """Set whenever there may be something new to read, by whichever process."""
        self._users = 0
        self._opening = asyncio.Lock()
        self._trimming: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Raises Misconfigured (not a log, not writable) or Unavailable."""
        async with self._opening:
            if not self._users:
                self._reader = _Thread(self.path, "log reader")
                self._writer = _Writer(self.path, self._wake)
                try:
                    await self._reader.open()
                    await self._writer.open()
                    await self.create_topics()
                except BaseException:
                    await self._close_threads()
                    raise
                self._watcher = _Watcher(self.path, self._wake)
                self._trimming = asyncio.create_task(self._trim_regularly(), name="trim the log")
            self._users += 1

    async def close(self) -> None:
        async with self._opening:
            self._users -= 1
            if not self._users:
                assert self._trimming
                self._trimming.cancel()
                await asyncio.wait({self._trimming})
                await asyncio.to_thread(self._watcher.stop)
                await self._close_threads()

    async def read(self, work: Work[T]) -> T:
        return await self._reader.run(work)

    async def write(self, work: Work[T]) -> T:
        """Returns once it is durable. Work asked for while a commit runs shares the next one."""
        return await self._writer.run(work)

    async def create_topics(self) -> dict[str, int]:
        """Create the topics that are missing; returns the partitions each has."""
        there = await self.read(partial(_partitions, topics=self.topics))
        if all(there.values()):
            return there
        await self.write(partial(_create, topics=self.topics))
        return await self.read(partial(_partitions, topics=self.topics))

    async def trim(self) -> None:
        """Delete events past their retention that every known group has committed."""
        before = int((self.runtime.now() - self.topics.retention) * 1000)
        for topic in self.topics.names:
            read_by_groups = topic == self.topics.events
            work = partial(records.trim, topic=topic, before=before, for_readers=read_by_groups)
            while await self.write(work):
                pass

    async def _trim_regularly(self) -> None:
        while True:
            with contextlib.suppress(Unavailable):
                await self.trim()
            await asyncio.sleep(TRIM_SECONDS)

    async def _close_threads(self) -> None:
        await self._writer.close()
        await self._reader.close()

    def _wake(self) -> None:
        for event in self.appended:
            event.set()


def _partitions(connection: sqlite3.Connection, topics: Topics) -> dict[str, int]:
    return {topic: len(records.slots(connection, topic)) for topic in topics.names}


def _create(connection: sqlite3.Connection, topics: Topics) -> None:
    for topic in topics.names:
        records.create_topic(connection, topic, topics.partitions)


class _Thread:
    """A thread that owns a connection: the disk never holds up the event loop."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        def connect() -> None:
            self._connection = store.open_store(self._path)

        await self._in_thread(connect)

    async def run(self, work: Work[T]) -> T:
        """Raises Unavailable or Misconfigured for what SQLite raises."""
        self._open_connection()
        return await self._in_thread(lambda: work(self._open_connection()))

    async def close(self) -> None:
        """After all work asked for before."""

        def disconnect() -> None:
            if self._connection:
                self._connection.close()
                self._connection = None

        await self._in_thread(disconnect)
        self._executor.shutdown(wait=False)

    def _open_connection(self) -> sqlite3.Connection:
        if not self._connection:
            raise Unavailable("log_closed", "The log is closed")
        return self._connection

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except (sqlite3.Error, OSError) as error:
            raise store.failure_of(error, self._path) from error


class _Writer(_Thread):
    """Commits together what is asked for together: the disk is flushed once for all of it."""

    def __init__(self, path: Path, on_commit: Callable[[], None]) -> None:
        super().__init__(path, "log writer")
        self._on_commit = on_commit
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: list[tuple[Work[Any], asyncio.Future[Any]]] = []

    async def run(self, work: Work[T]) -> T:
        self._open_connection()
        future: asyncio.Future[T] = self._loop.create_future()
        with self._lock:
            self._waiting.append((work, future))
            first = len(self._waiting) == 1
        if first:
            self._executor.submit(self._commit_waiting)
        return await future

    def _commit_waiting(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        # Nobody waits for the others any more: they have told their callers that it was not done.
        jobs = [(work, future) for work, future in waiting if not future.cancelled()]
        outcome: list[Any] | Exception
        try:
            connection = self._open_connection()
            with store.transaction(connection):
                outcome = [work(connection) for work, _ in jobs]
        except Exception as error:
            outcome = error
        self._loop.call_soon_threadsafe(self._deliver, [future for _, future in jobs], outcome)

    def _deliver(self, futures: "list[asyncio.Future[Any]]", outcome: list[Any] | Exception) -> None:
        for place, future in enumerate(futures):
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(store.failure_of(outcome, self._path))
            else:
                future.set_result(outcome[place])
        self._on_commit()


class _Watcher:
    """Looks for commits of other processes, which SQLite tells of only when asked."""

    def __init__(self, path: Path, on_change: Callable[[], None]) -> None:
        self._path = path
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        self._thread = threading.Thread(target=self._watch, name="log watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._thread.join()

    def _watch(self) -> None:
        with contextlib.closing(store.open_store(self._path)) as connection:
            seen = None
            while not self._stopping:
                time.sleep(POLL_SECONDS)
                try:
                    (version,) = connection.execute("PRAGMA data_version").fetchone()
                except sqlite3.Error as error:
                    log.warning(
                        "cannot watch the log: %s", error
                    )  # who reads finds out and says what it means
                    continue
                if version != seen:
                    seen = version
                    self._loop.call_soon_threadsafe(self._on_change)
