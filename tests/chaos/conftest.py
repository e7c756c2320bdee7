"""The sites of the end-to-end tests, for those here that hurt one process alone."""

from tests.end_to_end.conftest import make_site, nursery

__all__ = ["make_site", "nursery"]
