"""Owns one quirk: what writing to a Kafka connection that broke a moment ago raises."""

from typing import Any

from aiokafka import errors
from aiokafka.conn import AIOKafkaConnection, CloseReason

_send = AIOKafkaConnection.send


def send(self: Any, request: Any, expect_response: bool = True) -> Any:
    """aiokafka's own, but a broken connection is always a KafkaConnectionError, which it tries again.

    Between a reset and the moment aiokafka hears of it, uvloop's transport raises RuntimeError. aiokafka
    looks for OSError alone: its group, fetching and sending tasks died of the other.
    """
    try:
        return _send(self, request, expect_response)
    except RuntimeError as closed:
        self.close(reason=CloseReason.CONNECTION_BROKEN)
        raise errors.KafkaConnectionError(f"the connection broke: {closed}") from closed


def mend() -> None:
    """Have all clients of this process send so."""
    AIOKafkaConnection.send = send
