"""The short form of `make fuzz`: the same targets, and bytes that are nearly what Voucherify sends."""

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import authenticity, documented, meaning

SEEDS = list(documented())
PIECES = [
    b"\xff",
    b"\x00",
    b"\\ud800",
    b'"',
    b"\\",
    b"[" * 2000,
    b"9" * 5000,
    b"1e400",
    b"NaN",
    b"{",
    b"}",
    b" \n",
    b"",
]


@st.composite
def nearly_documented(draw: st.DrawFn) -> bytes:
    """A delivery with some of its bytes replaced."""
    body = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(body)))
        end = start + draw(st.sampled_from([0, 1, 2, 40]))
        body[start:end] = draw(st.sampled_from(PIECES) | st.binary(max_size=8))
    return bytes(body)


def test_the_targets_hold_for_what_is_documented() -> None:
    for body in SEEDS:
        meaning(body)
        authenticity(b"0" * 64 + body)


@given(nearly_documented() | st.binary(max_size=200))
def test_whatever_is_delivered_means_something_or_is_malformed(body: bytes) -> None:
    meaning(body)


@given(st.binary(max_size=64), nearly_documented() | st.binary(max_size=200))
def test_whatever_is_delivered_is_no_forgery_and_no_error(header: bytes, body: bytes) -> None:
    authenticity(header.ljust(64, b"0") + body)
