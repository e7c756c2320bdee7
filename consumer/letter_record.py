"""The dead-letter topic's record: original value, key and headers, and Spring Kafka's own headers."""

from collections.abc import Iterable

from storage.dead_letters import Letter

OURS = ("kafka_dlt-", "redemptions-")
LONGEST_MESSAGE = 500


def original_headers(headers: Iterable[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Headers as the ingress wrote them: what replays and letters added must not pile up."""
    return [(name, value) for name, value in headers if not name.startswith(OURS)]


def letter_headers(letter: Letter) -> list[tuple[str, bytes]]:
    """Numbers in the binary forms of Spring Kafka (int32 and int64, big-endian), the rest UTF-8 text."""
    headers = [
        *original_headers(letter.headers),
        ("kafka_dlt-original-topic", letter.topic.encode()),
        ("kafka_dlt-original-partition", letter.partition.to_bytes(4, "big")),
        ("kafka_dlt-original-offset", letter.offset.to_bytes(8, "big")),
        ("kafka_dlt-original-timestamp", letter.timestamp.to_bytes(8, "big", signed=True)),
        ("kafka_dlt-exception-fqcn", letter.error_class.encode()),
        ("kafka_dlt-exception-message", letter.error[:LONGEST_MESSAGE].encode()),
        ("redemptions-reason", letter.reason.encode()),
        ("redemptions-attempts", str(letter.attempts).encode()),
        ("redemptions-dead-letter-id", letter.id.encode()),
    ]
    if letter.handler is not None:
        headers.append(("redemptions-handler", letter.handler.encode()))
    return headers
