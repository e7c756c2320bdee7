"""What the reading commands are asked about: a site with a little of everything processed, still running."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.nursery import Nursery
from tests.end_to_end.processes import Site
from tests.end_to_end.traffic import Sender, in_all_shapes, sale, undone
from tests.events.payloads import body

KEPT, UNDONE, REFUSED = "r_kept", "r_undone", "r_refused"
BODIES = [
    *in_all_shapes(sale(KEPT, "cust_kept")),
    body(sale(UNDONE, "cust_undone")),
    body(sale(REFUSED, "cust_refused") | {"order": {"total_amount": 10.5}, "wallet": {"owner": "Anna"}}),
    b'{"torn \x1b[2J\x1b]0;owned\x07',
]


@pytest.fixture(scope="session")
def filled(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Only to be read: shared by all tests."""
    site = Site(tmp_path_factory.mktemp("filled"), nursery)
    site.start("run").wait_ready()
    for bodies in (BODIES, [body(undone(UNDONE, "cust_undone"))]):
        Sender(site.url, at_once=1).send(bodies)
        site.wait_idle()
    yield site
    site.close()
