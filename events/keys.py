"""Best-effort readers of ids, for record keys and dead letters: they never raise and give fit ids only."""

from events.delivery import unwrap
from events.failures import Malformed
from events.ids import customer_ids, first_fit, is_fit, order_ids, original_ids
from events.payload import Body, Data
from events.reading import read


def record_key(content: Body) -> bytes | None:
    """Customer id, else order id, else redemption id: what concerns one customer stays in one partition."""
    data = _data_of(content)
    if data is None:
        return None
    id = first_fit(customer_ids(data)) or first_fit(order_ids(data)) or first_fit(original_ids(data))
    return None if id is None else id.encode()


def ids_of(body: bytes) -> tuple[str | None, str | None]:
    """(redemption id, customer id) as far as `body` tells them."""
    try:
        data = _data_of(read(body))
    except Malformed:
        return None, None
    if data is None:
        return None, None
    return first_fit(original_ids(data)), first_fit(customer_ids(data))


def customers_of(body: bytes) -> set[str] | None:
    """Every customer whose redemption this is said to be; more than one if the sender contradicts itself.
    None: nobody can read it."""
    try:
        data = _data_of(read(body))
    except Malformed:
        return None
    return set() if data is None else {id for id in customer_ids(data) if is_fit(id)}


def _data_of(content: Body) -> Data | None:
    try:
        return unwrap(content).data
    except Malformed:
        return None
