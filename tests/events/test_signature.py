"""The signature: known answers, whitespace, headers of every sort, several secrets, hostile sizes."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.signature import matching_secret, sign, strip

SECRET = "secretKey"
VECTORS = [
    (b'{"a":1}', "a17d2ac229d1ebbb5f10e839c7985c4818e5986eab297f7e5979196d4d7d3ed2"),
    (b'{\n  "a": 1\n}', "a17d2ac229d1ebbb5f10e839c7985c4818e5986eab297f7e5979196d4d7d3ed2"),
    (b'{"a\\"b":1}', "f7cf97814a03146abedb9793f56e1dec34f618f82d10395310d053f749483ffb"),
    (b'{\r\n\t"a\\"b" : 1\r\n}\n', "f7cf97814a03146abedb9793f56e1dec34f618f82d10395310d053f749483ffb"),
    (b"  message  ", "53ff92957e1427ce23ad5bda9d0c5f2f4ff384d0806b83eeacb510c842d3a358"),
]


def raw_signature(body: bytes, secret: str = SECRET) -> bytes:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()


@pytest.mark.parametrize(("body", "signature"), VECTORS)
def test_the_known_answers_match(body: bytes, signature: str) -> None:
    assert sign(body, SECRET) == signature
    assert matching_secret(body, [signature.encode()], [SECRET]) == 0


def test_the_bytes_as_they_came_may_be_signed_too() -> None:
    body = b'{ "a": 1.0 }'
    assert matching_secret(body, [raw_signature(body)], [SECRET]) == 0


def test_upper_case_hex_is_accepted() -> None:
    assert matching_secret(b"{}", [raw_signature(b"{}").upper()], [SECRET]) == 0


def test_any_live_secret_will_do_and_is_named_by_its_place() -> None:
    secrets = ["old secret", "new secret", "newest secret"]
    for place, secret in enumerate(secrets):
        assert matching_secret(b'{ "a": 1 }', [sign(b'{"a":1}', secret).encode()], secrets) == place


GOOD = raw_signature(b"{}")


@pytest.mark.parametrize(
    "values",
    [
        [],
        [GOOD, GOOD],
        [b""],
        [GOOD[:-1]],
        [GOOD + b"0"],
        [GOOD + b"\n"],
        [b" " + GOOD[1:]],
        [b"g" * 64],
        [b"\xff" * 64],
        ["é".encode() * 32],
        [b"\xd9\xa1" * 32],
        [b"0" * 64],
        [b"0" * 100_000],
        [GOOD + b"," + GOOD],
    ],
)
def test_other_headers_match_nothing(values: list[bytes]) -> None:
    assert matching_secret(b"{}", values, [SECRET]) is None


def test_a_tenant_without_secrets_matches_nothing() -> None:
    assert matching_secret(b"{}", [raw_signature(b"{}", "")], []) is None


def test_one_changed_byte_matches_nothing() -> None:
    assert matching_secret(b'{"a":2}', [raw_signature(b'{"a":1}')], [SECRET]) is None


def test_whitespace_inside_strings_is_signed() -> None:
    assert matching_secret(b'{"a":"b c"}', [raw_signature(b'{"a":"bc"}')], [SECRET]) is None


@pytest.mark.parametrize(
    ("body", "stripped"),
    [
        (b' [ "a b" , "c\\\\" , " d" ] ', b'["a b","c\\\\"," d"]'),
        (b'{"\\\\\\" " : "\\u0022 " }', b'{"\\\\\\" ":"\\u0022 "}'),
        (b'{"never closed : 1, 2', b'{"never closed : 1, 2'),
        (b'{"ends in a backslash \\', b'{"ends in a backslash \\'),
        ('{ "ü" : "\u2028 \u00a0" }'.encode(), '{"ü":"\u2028 \u00a0"}'.encode()),
        ("{\u00a0}".encode(), "{\u00a0}".encode()),
        (b"\x0b { } \x0c", b"\x0b{}\x0c"),
        (b'{ "\x00" : 1 }', b'{ "\x00" : 1 }'),
        (b"", b""),
    ],
)
def test_only_json_whitespace_outside_strings_goes(body: bytes, stripped: bytes) -> None:
    assert strip(body) == stripped


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON, st.booleans(), st.sampled_from([None, 0, 2, "\t", " \r\n"]))
def test_however_json_is_laid_out_it_strips_to_its_compact_form(
    content: Any, ascii_only: bool, indent: Any
) -> None:
    compact = json.dumps(content, ensure_ascii=ascii_only, separators=(",", ":"))
    spacious = json.dumps(content, ensure_ascii=ascii_only, indent=indent, separators=(" , ", "\t: "))
    assert strip(spacious.encode("utf-8", "surrogatepass")) == compact.encode("utf-8", "surrogatepass")


@given(st.binary(max_size=64), st.lists(st.binary(max_size=80), max_size=2))
def test_bytes_of_any_sort_are_no_error(body: bytes, values: list[bytes]) -> None:
    assert matching_secret(body, values, [SECRET]) is None


@given(st.text(alphabet='"\\ \n\x00\x01ax').map(str.encode))
def test_stripping_removes_nothing_but_whitespace(body: bytes) -> None:
    assert strip(body).translate(None, b" \n") == body.translate(None, b" \n")


@pytest.mark.parametrize("piece", [b'"', b'"\\', b"\\", b'\\"', b'"" ', b" x", b" \xc3\xa9", b'"a'])
def test_two_hostile_mebibytes_are_stripped_piece_by_piece(piece: bytes) -> None:
    # Not timed: a strip that is not linear in its input runs into the suite's time limit here.
    body = piece * (2 * 1024 * 1024 // len(piece))
    assert matching_secret(body, [b"0" * 64], [SECRET, "another secret"]) is None
