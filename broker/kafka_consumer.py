"""Owns reading from Kafka: where each partition stands, and a new membership when the old one broke."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any

from aiokafka import TopicPartition, errors

from broker.kafka_connection import KafkaConnection, answers, failure_of, greet
from broker.kafka_membership import MemberSettings, Membership, replaced, replacement
from broker.kafka_silence import Silence
from broker.protocols import Assignment, Bounds, Fenced, Record
from broker.topics import Topics
from events.failures import Misconfigured, Unavailable
from events.runtime import Runtime

SILENT_SECONDS = 5.0
"""A broker answers every fetch within half a second; aiokafka hides it from us when none does."""
TURN = 2000
"""Records before another partition comes first. Taken in turn by the few, all would run dry together, and
aiokafka would ask for each alone."""
STUCK_SECONDS = 120.0
"""Longer than any rebalance: past this aiokafka does not come back by itself."""


class KafkaConsumer:
    """A `Consumer` on Kafka. `fetch` returns early, with nothing, when the assignment changes."""

    def __init__(
        self, connection: KafkaConnection, topics: Topics, settings: MemberSettings, runtime: Runtime
    ) -> None:
        self._connection = connection
        self._topics = topics
        self._settings = settings
        self._runtime = runtime
        self._member: Membership | None = None
        self._last = Assignment(0, frozenset(), joined=False)
        self._member_id = ""  # of the membership before this one
        self._places: dict[int, int] = {}  # next offset to hand out, of the partitions placed in this epoch
        self._turn, self._taken = 0, 0  # the partition to begin with, and the records of its turn
        self._silence = Silence(runtime)
        self._changed: asyncio.Future[None] | None = None
        self._stopped = False

    async def start(self, on_revoked: Callable[[], Awaitable[None]]) -> None:
        """Raises Unavailable (no answer, or the topic is missing) or Misconfigured (refused)."""
        self._on_revoked = on_revoked
        await self._join()

    def assignment(self) -> Assignment:
        return self._member.assignment if self._member else self._last

    async def committed(self, partitions: Iterable[int]) -> dict[int, int | None]:
        wanted = list(partitions)
        client = self._joined().client
        offsets = await answers(*(client.committed(self._place(partition)) for partition in wanted))
        return dict(zip(wanted, offsets, strict=True))

    async def bounds(self, partitions: Iterable[int]) -> dict[int, Bounds]:
        places = [self._place(partition) for partition in partitions]
        client = self._joined().client
        starts, ends = await answers(client.beginning_offsets(places), client.end_offsets(places))
        return {place.partition: Bounds(starts[place], ends[place]) for place in places}

    def seek(self, partition: int, offset: int) -> None:
        """Does nothing for a partition that is not held (any more)."""
        if self._member and partition in self._member.assignment.partitions:
            self._member.client.seek(self._place(partition), offset)
            self._places[partition] = offset
            self._silence.end()
            self._wake()

    async def fetch(
        self,
        max_records: int,
        timeout: float,  # noqa: ASYNC109
    ) -> tuple[int, list[Record]]:
        """Raises Unavailable, or Misconfigured: refused, replaced by another process of this instance id, or
        asked for an offset that the partition does not hold (that partition then waits for another seek)."""
        if self._stopped:
            await asyncio.sleep(timeout)  # a caller that has not noticed must not spin
            return self.assignment().epoch, []
        member = self._member or await self._join()
        epoch = member.assignment.epoch
        deadline = self._silence.begin() + timeout
        try:
            while True:
                await self._check_sound(member)
                records = await self._take(member, max_records)
                left = deadline - self._runtime.monotonic()
                if records or left <= 0 or epoch != member.assignment.epoch or self._stopped:
                    break
                await self._wait(member, left)
            if not records:
                self._check_heard(member)
            return epoch, records
        finally:
            self._silence.pause()

    async def commit(self, epoch: int, offsets: Mapping[int, int]) -> None:
        if self._member is None:
            raise Fenced("Not in the group")
        await self._member.commit(epoch, offsets)

    async def stop(self) -> None:
        self._stopped = True
        if self._member:
            await self._member.stop()
            self._last = self._member.assignment
        self._wake()

    def _joined(self) -> Membership:
        if self._member is None or self._stopped:
            raise Unavailable("not_joined", "Not in the group at this moment")
        return self._member

    async def _join(self) -> Membership:
        await greet(self._connection, [self._topics.events])
        again = self._member_id and self._settings.instance_id
        if again and await replaced(self._connection, self._settings, self._member_id):
            raise replacement(self._settings)
        member = Membership(
            self._connection,
            self._topics,
            self._settings,
            self._runtime,
            epoch=self._last.epoch + 1,
            on_revoked=self._on_revoked,
            on_change=self._forget_places,
        )
        await member.start()
        self._member = member
        if self._stopped:
            await member.stop()
        return member

    async def _check_sound(self, member: Membership) -> None:
        """Raises what broke the membership, and lets go of it: the next fetch joins anew."""
        if isinstance(member.failure, Misconfigured):
            raise member.failure
        failure, member.failure = member.failure, None
        if failure:
            raise failure
        try:
            member.check()
            self._check_moving(member)
        except errors.KafkaError as broken:
            await member.stop()
            self._member, self._last, self._member_id = None, member.assignment, member.member_id
            raise failure_of(broken) from broken

    def _check_moving(self, member: Membership) -> None:
        now = self._runtime.monotonic()
        if member.joining_since is not None and now - member.joining_since > STUCK_SECONDS:
            raise errors.KafkaError("the group did not settle")
        if self._places and self._silence.seconds > STUCK_SECONDS:
            raise errors.KafkaError("no fetch was answered")

    async def _take(self, member: Membership, max_records: int) -> list[Record]:
        """What aiokafka holds ready, beginning with another partition each turn: a full one starves no other.

        Without a timeout getmany never suspends, so it cannot be cancelled and no rebalance gets between.
        """
        records: list[Record] = []
        places = dict(self._places)
        try:
            for partition in self._in_turn():
                if not member.readable or len(records) >= max_records:
                    break
                # Never called without a partition: that would mean all of them, placed or not.
                got = await member.client.getmany(
                    self._place(partition), timeout_ms=0, max_records=max_records - len(records)
                )
                for batch in got.values():
                    records.extend(map(record_of, batch))
                    places[partition] = batch[-1].offset + 1
        except errors.KafkaError as error:
            self._rewind(member)
            self._raise_unless_stale(error)
            return []
        self._places = places
        self._taken += len(records)
        if records:
            self._silence.end()
        return records

    def _in_turn(self) -> list[int]:
        partitions = sorted(self._places)
        if self._taken >= TURN:
            self._turn, self._taken = self._turn + 1, 0
        first = self._turn % len(partitions) if partitions else 0
        return partitions[first:] + partitions[:first]

    def _rewind(self, member: Membership) -> None:
        """Put aiokafka back to our places: what it had handed out before the error is not delivered."""
        for partition, offset in self._places.items():
            member.client.seek(self._place(partition), offset)

    def _raise_unless_stale(self, error: errors.KafkaError) -> None:
        # Until we place a partition aiokafka tries the group's offset, and stores what comes of it.
        if isinstance(error, errors.NoOffsetForPartitionError):
            return
        if not isinstance(error, errors.OffsetOutOfRangeError):
            raise failure_of(error) from error
        ((place, offset),) = error.args[0].items()
        if self._places.get(place.partition) == offset:
            del self._places[place.partition]
            raise Misconfigured(
                "offset_out_of_range",
                f"{place.topic} partition {place.partition} does not hold offset {offset}: "
                "the log was emptied or replaced, or the database is ahead of it",
            ) from error

    async def _wait(self, member: Membership, seconds: float) -> None:
        """Until records may have come, the assignment changed, or time is up."""
        self._changed = asyncio.get_running_loop().create_future()
        waits: set[asyncio.Future[Any]] = {self._changed}
        if member.readable and self._places:
            waits.add(member.client._fetcher._create_fetch_waiter())
        # Asked often enough to notice an error that has nothing to do with fetching, and silence.
        await asyncio.wait(waits, timeout=min(seconds, 1.0), return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            if not wait.cancel() and not wait.cancelled():
                wait.exception()  # told by Membership.check as well; here only marked as seen

    def _check_heard(self, member: Membership) -> None:
        if not member.readable or not self._places:
            return
        answers = [member.client.last_poll_timestamp(self._place(partition)) for partition in self._places]
        self._silence.end(max(answer or 0 for answer in answers))
        if self._silence.seconds > SILENT_SECONDS:
            raise Unavailable("kafka_silent", "Kafka has not answered for a while")

    def _forget_places(self) -> None:
        self._places = {}
        self._wake()

    def _wake(self) -> None:
        if self._changed and not self._changed.done():
            self._changed.set_result(None)

    def _place(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topics.events, partition)


def record_of(record: Any) -> Record:
    headers = tuple(record.headers)
    if None in map(itemgetter(1), headers):
        headers = tuple([(name, value or b"") for name, value in headers])
    return Record(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value or b"",
        headers,
    )
