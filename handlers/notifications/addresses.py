"""E-mail addresses that may stand in a header: nothing in them can end the line or begin another address."""

import re
from email.headerregistry import Address
from email.utils import parseaddr
from typing import Any

from handlers.loyalty.readings import UNPRINTABLE

ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
)
LONGEST = 254
LONGEST_LINE = 200


def fit_address(value: Any) -> str | None:
    """An address of the usual ASCII form, or None."""
    if isinstance(value, str) and len(value) <= LONGEST and ADDRESS.fullmatch(value.strip(" ")):
        return value.strip(" ")
    return None


def addressee(name: str | None, address: str) -> Address:
    return Address(display_name=one_line(name or ""), addr_spec=address)


def parsed_address(text: str) -> Address | None:
    """`Name <address>` or an address alone."""
    name, address = parseaddr(text)
    fit = fit_address(address)
    return addressee(name, fit) if fit and not UNPRINTABLE.search(text) else None


def one_line(text: str) -> str:
    """Text for a header or a log line: no control character, no line break, not too long."""
    return " ".join(UNPRINTABLE.sub(" ", text).split())[:LONGEST_LINE]
