"""Ids read at best effort: record keys, and what a dead letter knows of its event."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.keys import ids_of, record_key
from events.reading import read
from tests.events.payloads import CUSTOMER, ID, a_rollback, a_success, body, distribution, project

SHAPES = [
    a_success(),
    project(a_success(), "redemption.succeeded"),
    distribution(a_success(), "customer.redemption.succeeded"),
    a_rollback(),
    project(a_rollback(), "redemption.rollback.succeeded"),
]


def key_of(content: Any) -> bytes | None:
    return record_key(read(body(content)))


@pytest.mark.parametrize("content", SHAPES)
def test_a_customers_events_share_a_key_whatever_their_shape(content: Any) -> None:
    assert key_of(content) == CUSTOMER.encode()
    assert ids_of(body(content)) == (ID, CUSTOMER)


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"customer": {"id": "c1"}, "redemption": {"customer_id": "c2"}}, b"c1"),
        ({"customer": {"id": ""}, "redemption": {"customer_id": "c2", "customer": {"id": "c3"}}}, b"c2"),
        ({"redemption": {"customer": {"id": "c3"}}, "order": {"customer_id": "c4", "id": "o"}}, b"c3"),
        ({"order": {"customer_id": "c4", "id": "o"}}, b"c4"),
        ({"redemption": {"id": "r", "order": {"customer_id": "c5", "id": "o"}}}, b"c5"),
        ({"redemption": {"id": "r", "order": {"id": "o2"}}, "order": {"id": "o1"}}, b"o1"),
        ({"redemption": {"id": "r", "order": {"id": "o2"}}}, b"o2"),
        ({"redemption": {"id": "r"}}, b"r"),
        ({"redemption_rollback": {"redemption": "r", "id": "rr"}}, b"r"),
        ({"customer": {"id": "\x00"}, "order": {"id": "x" * 256}, "redemption": {"id": "ü"}}, "ü".encode()),
        ({"customer": {"id": "\ud800"}, "redemption": {"id": 5}}, None),
        ({"type": "redemption.succeeded", "data": {"object": {"id": "r"}}}, None),
        ({}, None),
    ],
)
def test_the_key_is_the_first_fit_id_of_customer_order_redemption(content: Any, key: bytes | None) -> None:
    assert key_of(content) == key


@given(st.binary(max_size=100))
def test_reading_ids_never_fails(raw: bytes) -> None:
    ids_of(raw)


@pytest.mark.parametrize("raw", [b"\xff", b"{", b"[]", b"[" * 100_000, b'{"redemption":{"id":"\\ud800"}}'])
def test_what_cannot_be_read_has_no_ids(raw: bytes) -> None:
    assert ids_of(raw) == (None, None)
