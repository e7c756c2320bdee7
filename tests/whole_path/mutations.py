"""The documented payloads, mutated as the tolerant schemas allow, and beyond: whatever a marketer, a new
version of the contract or a fault could make of them.
"""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from hypothesis import strategies as st

from events.payload import Data, Order, Redemption
from tests.events.payloads import (
    CUSTOMER,
    ID,
    a_failed_rollback,
    a_failure,
    a_rollback,
    a_success,
    distribution,
    project,
)

Path = tuple[str | int, ...]
HAPPENINGS: dict[str, Callable[[], dict[str, Any]]] = {
    "redemption.succeeded": a_success,
    "redemption.rollback.succeeded": a_rollback,
    "redemption.failed": a_failure,
    "redemption.rollback.failed": a_failed_rollback,
}
AMOUNTS = ("amount", "total_amount", "total_discount_amount")
IDS: frozenset[Path] = frozenset(
    {
        ("customer", "id"),
        ("order", "id"),
        ("order", "customer_id"),
        ("redemption", "redemption"),
        ("redemption", "customer_id"),
        ("redemption", "customer", "id"),
        ("redemption", "order", "id"),
        ("redemption", "order", "customer_id"),
    }
)
READ_STRICTLY = IDS | {(*place, name) for place in (("order",), ("redemption", "order")) for name in AMOUNTS}
"""What the ledger has to be able to use where it is there at all."""
DECIDING: frozenset[Path] = frozenset(
    {
        ("redemption", "id"),
        ("redemption", "result"),
        ("redemption", "status"),
        ("redemption_rollback", "id"),
        ("redemption_rollback", "result"),
        ("redemption_rollback", "status"),
        ("redemption_rollback", "redemption"),
    }
)
"""What tells which redemption it is, and what happened to it."""
ORDER = "ord_p6B1A0y805yUQQaCw4bC6Fbk"
DROP = "@left out@"
LONG_NUMBER = "@5000 digits@"

VALUES: tuple[Any, ...] = (
    *(True, 0, -1, 1.5, 10.0, 2**60, 10**30, LONG_NUMBER),
    *("", "text", "a\x00b", "\ud800", "x" * 300, "SOMETHING_NEW"),
    *([], {}, [1], {"a": None}),
)
STRANGE = st.sampled_from(VALUES).map(copy.deepcopy)  # the next change may fall into it
WORDS = st.sampled_from(["SOMETHING_NEW", "new one", "FAILED", "ROLLED BACK", "LOYALTY_CARD", "CANCELED"])


class Mutant(NamedTuple):
    """A delivery and how it came about, for people."""

    body: bytes
    type: str
    changes: list[str]


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every path in a payload."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


def is_free(path: Path) -> bool:
    """Whether no handler needs what lies there or within."""
    return not any(needed[: len(path)] == path for needed in READ_STRICTLY | DECIDING)


@st.composite
def mutants(draw: st.DrawFn, number: int, *, harmless: bool) -> Mutant:
    """A delivery of redemption `number`. `harmless`: changed only where no handler needs anything, and where
    one does only by leaving out what may be left out."""
    type = draw(st.sampled_from(list(HAPPENINGS)))
    data = _as_redemption(HAPPENINGS[type](), number)
    changes = [_mutate(draw, data, harmless) for _ in range(draw(st.integers(0, 4)))]
    shapes: list[Callable[[Any], Any]] = [lambda data: data, lambda data: project(data, type)]
    shapes.append(lambda data: distribution(data, f"customer.{type}"))
    content = draw(st.sampled_from(shapes))(data)
    if not harmless and draw(st.booleans()):
        changes.append(_mutate(draw, content, harmless))
    return Mutant(_written(content), type, changes)


@st.composite
def deliveries(draw: st.DrawFn, *, harmless: bool) -> list[Mutant]:
    """So many at once that several share a batch, of redemptions that may meet."""
    return [
        draw(mutants(draw(st.integers(1, 8)), harmless=harmless)) for _ in range(draw(st.integers(5, 15)))
    ]


NAMED = {name for struct in (Data, Order, Redemption) for name in struct.__struct_fields__} | {
    "type",
    "channel_type",
}
FEW: tuple[Any, ...] = (None, LONG_NUMBER, [])


def each_change() -> Iterator[tuple[Mutant, bool]]:
    """Places of the documented success and rollback changed alone, those that our structs name in every way;
    with whether the change is harmless."""
    for happened in ("redemption.succeeded", "redemption.rollback.succeeded"):
        for at, path in enumerate(places(HAPPENINGS[happened]())):
            values = (DROP, None, *VALUES) if NAMED.issuperset(path) else FEW
            for each, value in enumerate(values):
                data = _as_redemption(HAPPENINGS[happened](), 1_000_000 + 100 * at + each)
                _put(data, path, value)
                harmless = is_free(path) or (value in (DROP, None) and _may_change(path))
                yield Mutant(_written(data), happened, [f"{value!r:.40} at {path}"]), harmless


def _put(data: Any, path: Path, value: Any) -> None:
    for key in path[:-1]:
        data = data[key]
    if value is DROP:
        del data[path[-1]]
    else:
        data[path[-1]] = value


def _written(content: Any) -> bytes:
    return json.dumps(content).replace(f'"{LONG_NUMBER}"', "7" * 5_000).encode()


def _as_redemption(data: dict[str, Any], number: int) -> dict[str, Any]:
    """Of one customer and one order, as deliveries of one redemption would be."""
    text = json.dumps(data).replace(ID, f"r_a{number}").replace("rf_0e6ff48b91cfa02e97", f"rf_a{number}")
    text = text.replace(CUSTOMER, f"cust_{number % 3}").replace(
        "ord_p6B1A0y805yUQQaCw4bC6Fbk", f"ord_{number}"
    )
    changed: dict[str, Any] = json.loads(text)
    return changed


def _mutate(draw: st.DrawFn, content: dict[str, Any], harmless: bool) -> str:
    """Change one place; returns what was done."""
    there = [path for path in places(content) if not harmless or _may_change(path)]
    if not there:
        return "nothing"
    path = draw(st.sampled_from(there))
    place = content
    for key in path[:-1]:
        place = place[key]  # type: ignore[index]
    last: Any = path[-1]
    kinds = ["drop", "null"]
    if not harmless or is_free(path):
        kinds += ["retype", "word", "extra", "quote", "nest"]
    kind = draw(st.sampled_from(kinds))
    match kind:
        case "drop":
            del place[last]
        case "null":
            place[last] = None
        case "retype":
            place[last] = draw(STRANGE)
        case "word":
            place[last] = draw(WORDS)
        case "extra":
            owner = place[last] if isinstance(place[last], dict) else content
            owner[draw(st.sampled_from(["brand_new", "newKey", "x.y", "a\x1b[31m", "é", ""]))] = draw(STRANGE)
        case "quote" if isinstance(place[last], int | float):
            place[last] = str(place[last])
        case "nest":
            place[last] = copy.deepcopy(content)
    return f"{kind} {'.'.join(map(str, path))}"


def _may_change(path: Path) -> bool:
    """Dropping an id that may be absent changes whom it is about, at most; what happened must stay."""
    whole = ("redemption",), ("redemption_rollback",)
    return path not in whole and path not in DECIDING
