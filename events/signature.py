"""The webhook's signature: hex HMAC-SHA256 over the body with the whitespace outside strings removed.

Voucherify's Java and Node samples differ in what they make of `1.0`, escapes and duplicate keys, so a body is
compared as it came first, then stripped bytewise; it is never parsed and written again.
"""

import hmac
import re
from collections.abc import Sequence

_HEX_DIGEST = re.compile(rb"[0-9a-fA-F]{64}")
_WHITESPACE = b" \t\r\n"


def sign(body: bytes, secret: str) -> str:
    """The signature that Voucherify sends along with `body`. A plain string is signed untouched."""
    is_json = body.lstrip(_WHITESPACE).startswith((b"{", b"["))
    return _digest(strip(body) if is_json else body, secret).decode()


def matching_secret(body: bytes, header_values: Sequence[bytes], secrets: Sequence[str]) -> int | None:
    """The place of the secret that `body` was signed with; None: not authentic.

    `header_values` are all values of the signature header: exactly one is allowed.
    """
    # Bytes, as compare_digest raises on a str that is not ASCII: that would make their error ours.
    if len(header_values) != 1 or _HEX_DIGEST.fullmatch(header_values[0]) is None:
        return None
    given = header_values[0].lower()
    match = _match(body, given, secrets)
    if match is None and (stripped := strip(body)) != body:
        match = _match(stripped, given, secrets)
    return match


def _match(body: bytes, given: bytes, secrets: Sequence[str]) -> int | None:
    # All are compared, so that the time taken does not tell which one came close.
    matches = [hmac.compare_digest(_digest(body, secret), given) for secret in secrets]
    return matches.index(True) if True in matches else None


def _digest(body: bytes, secret: str) -> bytes:
    return hmac.digest(secret.encode(), body, "sha256").hex().encode()


def strip(body: bytes) -> bytes:
    """`body` without the whitespace outside strings.

    Whole-body operations only: anybody can send 2 MiB of quotes, and a regex takes 1 µs for each of them.
    """
    if b"\x00" in body or b"\x01" in body:
        return body  # No JSON holds these bytes: there is nothing to strip, and they mark escapes below.
    # As Latin-1 text, which keeps every byte: joining millions of `bytes` takes 80 bytes of memory each.
    text = body.decode("latin-1")
    # Pairs first: in `\\"` the quote is a real one. The marks are as long as what they stand for.
    text = text.replace("\\\\", "\x00\x00").replace('\\"', "\x01\x01")
    segments = text.split('"')  # outside, inside, outside, ...
    outside = '"'.join(segments[::2]).encode("latin-1").translate(None, _WHITESPACE).decode("latin-1")
    segments[::2] = outside.split('"')
    return '"'.join(segments).replace("\x01\x01", '\\"').replace("\x00\x00", "\\\\").encode("latin-1")
