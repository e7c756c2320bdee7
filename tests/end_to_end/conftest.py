"""A nursery for the session, and a site for each test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.nursery import Nursery
from tests.end_to_end.processes import Site

MakeSite = Callable[..., Site]


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path_factory.mktemp("nursery") / "socket")
    yield nursery
    nursery.close()


@pytest.fixture
def make_site(nursery: Nursery, tmp_path: Path) -> Iterator[MakeSite]:
    sites: list[Site] = []

    def make(**settings: object) -> Site:
        directory = tmp_path / f"site-{len(sites)}"
        directory.mkdir()
        sites.append(Site(directory, nursery, **settings))
        return sites[-1]

    yield make
    for site in sites:
        site.close()


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site()
