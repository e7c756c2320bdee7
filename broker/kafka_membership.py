"""Owns one aiokafka consumer's time in its group: what it holds, and until when its commits count."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition, errors
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.structs import OffsetAndMetadata
from msgspec import Struct

from broker.kafka_connection import GREET_SECONDS, KafkaConnection, failure_of
from broker.protocols import Assignment, Fenced
from broker.topics import Topics
from events.failures import Misconfigured, Unavailable
from events.runtime import Runtime

log = logging.getLogger(__name__)

HELD_BYTES = 1024 * 1024
"""Held for each partition, and compressed: some hundred events or more. With half of it up to a quarter fewer
were settled."""
NO_POLL_LIMIT_MS = 2**31 - 1
"""aiokafka leaves the group when nobody fetches for a while and rejoins only on the next getmany, which we
never call without an assignment: a worker that waited out a long database outage would never come back."""
COMMIT_SECONDS = 10.0
STOP_SECONDS = 10.0
RETRY_SECONDS = 0.2
UNKNOWN_MEMBER = ""
CLIENT_ID = "redemptions"

OVERTAKEN = (
    errors.CommitFailedError,
    errors.UnknownMemberIdError,
    errors.IllegalGenerationError,
    errors.RebalanceInProgressError,
    errors.IllegalStateError,
)


class MemberSettings(Struct, frozen=True, kw_only=True):
    """How a consumer takes part in its group. Times in seconds."""

    group: str
    instance_id: str | None = None
    """A name that outlives restarts: coming back within the session timeout then moves no partition."""
    session_timeout: float = 30.0
    rebalance_timeout: float = 60.0
    """How long the group waits for members that still drain; on_revoked is cut off then."""
    metadata_max_age: float = 30.0
    """How soon partitions added to the topic are noticed."""


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """From joining to leaving. `on_change` is called whenever the assignment passed or a new one came."""

    def __init__(
        self,
        connection: KafkaConnection,
        topics: Topics,
        settings: MemberSettings,
        runtime: Runtime,
        *,
        epoch: int,
        on_revoked: Callable[[], Awaitable[None]],
        on_change: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._topic = topics.events
        self._settings = settings
        self._runtime = runtime
        self._on_revoked = on_revoked
        self._on_change = on_change
        self._generation = -1
        self.member_id = UNKNOWN_MEMBER
        """The name Kafka gave us when we last had an assignment."""
        self._release = asyncio.Lock()
        self._stopping = asyncio.Event()
        self.assignment = Assignment(epoch, frozenset(), joined=False)
        self.revoking = False
        self.joining_since: float | None = runtime.monotonic()
        self.failure: Exception | None = None
        """What fetch must tell: aiokafka only logs what a rebalance listener raises."""
        self.client: Any = AIOKafkaConsumer(
            **connection.options(),
            client_id=CLIENT_ID,
            group_id=settings.group,
            group_instance_id=settings.instance_id,
            enable_auto_commit=False,
            auto_offset_reset="none",
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=int(settings.session_timeout * 1000),
            heartbeat_interval_ms=int(min(3.0, settings.session_timeout / 4) * 1000),
            rebalance_timeout_ms=int(settings.rebalance_timeout * 1000),
            max_poll_interval_ms=NO_POLL_LIMIT_MS,
            metadata_max_age_ms=int(settings.metadata_max_age * 1000),
            # Of a larger record Kafka sends the whole batch all the same, once it is the first that its
            # answer holds.
            max_partition_fetch_bytes=HELD_BYTES,
        )

    async def start(self) -> None:
        """Connect, and join in the background: a join may take as long as the other members drain."""
        try:
            async with asyncio.timeout(GREET_SECONDS):
                await self.client.start()
                # Asked here so that a group that is not ours to join is told at the start.
                await self.client._coordinator.ensure_coordinator_known()
        except (errors.KafkaError, TimeoutError) as error:
            await self._close()
            raise failure_of(error) from error
        self.client.subscribe([self._topic], listener=self)

    @property
    def readable(self) -> bool:
        """Whether getmany may be called: in a rebalance it would wait without a timeout."""
        return bool(self.assignment.partitions) and not self.revoking

    def check(self) -> None:
        """Raises a KafkaError for what aiokafka's background tasks died of: they do not come back by
        themselves, and what they met need not be an error of Kafka's."""
        coordinator = self.client._coordinator
        if self.client._fetcher.error_future.done() or coordinator._coordination_task.cancelled():
            raise errors.KafkaError("a task of the Kafka client died")
        try:
            coordinator.check_errors()
        except errors.KafkaError:
            raise
        except Exception as died:
            raise errors.KafkaError(f"a task of the Kafka client died: {died!r}") from died

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Called by aiokafka before it rejoins, the heartbeats still running."""
        self.joining_since = self._runtime.monotonic()
        await self.release()
        thrown_out = self.client._coordinator.member_id == UNKNOWN_MEMBER != self.member_id
        if thrown_out and self._settings.instance_id:
            await self._step_back_if_replaced()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called by aiokafka when the group has settled."""
        partitions = frozenset(place.partition for place in assigned)
        self.joining_since = None
        self._generation = self.client._coordinator.generation
        self.member_id = self.client._coordinator.member_id
        self.assignment = Assignment(self.assignment.epoch + 1, partitions)
        self._on_change()

    async def release(self) -> None:
        """Give up the partitions held, after on_revoked has run. Does nothing when there are none."""
        self.revoking = True  # before anything is awaited: from here on getmany would hang
        async with self._release:
            try:
                if self.assignment.partitions:
                    async with asyncio.timeout(self._settings.rebalance_timeout):
                        await self._on_revoked()
            except Exception as failure:
                log.exception("on_revoked failed")
                self.failure = failure
            finally:
                self.assignment = Assignment(self.assignment.epoch + 1, frozenset(), joined=False)
                self.revoking = False
                self._on_change()

    async def commit(self, epoch: int, offsets: Mapping[int, int]) -> None:
        """Raises Fenced or Unavailable."""
        places = {
            TopicPartition(self._topic, partition): OffsetAndMetadata(offset, "")
            for partition, offset in offsets.items()
        }
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                while not await self._try_commit(epoch, places):  # noqa: ASYNC110
                    await asyncio.sleep(RETRY_SECONDS)
        except OVERTAKEN as error:
            raise Fenced(str(error)) from error
        except (errors.KafkaError, TimeoutError) as error:
            raise failure_of(error) from error

    async def _try_commit(self, epoch: int, places: dict[TopicPartition, OffsetAndMetadata]) -> bool:
        coordinator = self.client._coordinator
        try:
            await coordinator.ensure_coordinator_known()
            self._check_current(epoch, places)
            # Not client.commit: it tries again under whatever generation is then current, so a commit that
            # was held up over a rebalance would overwrite the offset of the partition's new owner. Here
            # nothing is awaited between the check and the making of the request.
            await coordinator._do_commit_offsets(None, places)
        except errors.KafkaError as error:
            if not error.retriable:
                raise
            return False
        return True

    def _check_current(self, epoch: int, places: Iterable[TopicPartition]) -> None:
        held, coordinator = self.assignment, self.client._coordinator
        # Once thrown out, generation and member id are blank: Kafka takes such a commit as one from outside
        # the group, and accepts it while the group is empty.
        current = epoch == held.epoch and coordinator.generation == self._generation
        if not current or not held.partitions.issuperset(place.partition for place in places):
            raise Fenced(f"The assignment {epoch} has passed")

    async def stop(self) -> None:
        """Release, then leave the group (a static member stays in it until its session ends)."""
        await self.release()
        self._stopping.set()
        await self._close()

    async def _close(self) -> None:
        """Bounded: aiokafka would wait for a coordinator that does not answer."""
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.client.stop()
        except Exception as error:  # whatever a task of the client died of is raised here once more
            log.warning("left the group without a goodbye: %r", error)
            if self.client._fetcher:
                await self.client._fetcher.close()
            await self.client._client.close()

    async def _step_back_if_replaced(self) -> None:
        """Stay out of the group if a newer process with our instance id is in it.

        Kafka threw us out either because we were silent too long, then we may come back, or because that
        process joined: then coming back would throw it out, and it us, for ever.
        """
        while not self._stopping.is_set():
            with contextlib.suppress(Unavailable):
                if not await replaced(self._connection, self._settings, self.member_id):
                    return
                self.failure = replacement(self._settings)
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1.0)
        # Whatever else a listener does, aiokafka sends its request to join next. This ends its task.
        raise asyncio.CancelledError


def replacement(settings: MemberSettings) -> Misconfigured:
    return Misconfigured(
        "instance_id_taken",
        f"Another process joined group {settings.group} as {settings.instance_id}: this one stands back",
    )


async def replaced(connection: KafkaConnection, settings: MemberSettings, member_id: str) -> bool:
    """Whether the group has a member with our instance id that is not `member_id`. Raises Unavailable."""
    admin = AIOKafkaAdminClient(**connection.options(), request_timeout_ms=int(GREET_SECONDS * 1000))
    try:
        async with asyncio.timeout(GREET_SECONDS):
            await admin.start()
            (answer,) = await admin.describe_consumer_groups([settings.group])
        members = [member for group in answer.to_object()["groups"] for member in group["members"]]
    except (errors.KafkaError, TimeoutError) as error:
        raise Unavailable("kafka_unavailable", str(failure_of(error))) from error
    finally:
        await admin.close()
    # Kafka names a static member by its instance id and a UUID. (Not by client id: it keeps the old one's.)
    others = {member["member_id"] for member in members} - {member_id}
    return any(other[:-37] == settings.instance_id for other in others)
