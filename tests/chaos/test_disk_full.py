"""A full disk under the embedded log and SQLite: 503 until there is room, and nothing is lost."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.chaos.disk import Disk, limited_files, small_disk
from tests.end_to_end.conftest import MakeSite
from tests.end_to_end.processes import SECRET, until
from traffic.generator import traffic
from traffic.sending import Sending


@pytest.mark.parametrize("disk_at", [small_disk, limited_files])
def test_a_full_disk_is_waited_for_and_nothing_is_lost(
    disk_at: Callable[[Path], AbstractContextManager[Disk]], make_site: MakeSite, tmp_path: Path
) -> None:
    load = traffic(5, 500)
    with disk_at(tmp_path / "disk") as disk:
        site = make_site(data_dir=disk.place / "data")
        running = site.start("run").wait_ready()
        sending = Sending([site.url], SECRET, rate=150)
        bodies = [delivery.body for delivery in load.deliveries]
        thread = threading.Thread(target=lambda: asyncio.run(sending.send(bodies)))
        thread.start()
        until(lambda: len(sending.accepted) > 100, "some are accepted")
        disk.fill(running.pid)
        until(lambda: sending.answers[503] > 10, "it says that there is no room")
        accepted_before = len(sending.accepted)
        disk.clear(running.pid)
        thread.join()

        assert 100 < accepted_before < len(bodies)
        assert len(sending.accepted) == len(bodies)
        assert sending.answers.keys() == {202, 503}
        site.wait_idle()
        assert site.balances() == load.expected().balances
        assert site.told("ledger", "verify") == []
        reasons = Counter(letter["reason"] for letter in site.told("dead-letters", "list"))
        assert reasons == load.expected().dead_letters
        assert running.stop() == 0, running.err
