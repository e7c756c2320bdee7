"""A site, and the broker that end-to-end tests kill."""

from tests.end_to_end.conftest import end_to_end_kafka as end_to_end_kafka
from tests.end_to_end.conftest import make_site as make_site
from tests.end_to_end.conftest import nursery as nursery
from tests.end_to_end.conftest import site as site
