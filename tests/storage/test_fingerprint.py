"""Letters of one cause have one fingerprint, those of another have another."""

import pytest

from storage.fingerprint import fingerprint, normalised


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ("no customer cust_0b4dA1 here", "no customer cust_Zz99 here"),
        ("amount 12.5 is a fraction", "amount 0,75 is a fraction"),
        ("due at 2026-11-23T09:00:00Z", "due at 2025-01-02 03:04:05.678+01:00"),
        ("until Mon, 23 Nov 2026", "until 1 January 2025"),
        ("request 3f0f5a0f-7c11-4b6e-9a35-0a51d0c98a51", "request aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"),
        ("the value 'a b' of \"x\"", "the value '' of \"y z\""),
        ("digest 9f86d081884c7d65 differs", "digest 2c26b46b68ffc68f differs"),
        ("token eyJhbGciOi1.x is old", "token Zm9vYmFyMTIz.x is old"),
        ("line 7 column 12", "line 12345 column 1"),
    ],
)
def test_what_varies_makes_no_other_group(one: str, another: str) -> None:
    assert normalised(one) == normalised(another)
    assert fingerprint("h", "E", one) == fingerprint("h", "E", another)


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ("total_amount is missing", "order_amount is missing"),
        ("the server can't answer and isn't there", "the server can be seen and is there"),
        ("decade", "facade"),
        ("March is over", "May is over"),
    ],
)
def test_words_do(one: str, another: str) -> None:
    assert fingerprint("h", "E", one) != fingerprint("h", "E", another)


def test_the_handler_and_the_class_do_too() -> None:
    known = {fingerprint(handler, error, "x") for handler in ("a", "b", None) for error in ("E", "F")}
    assert len(known) == 6
