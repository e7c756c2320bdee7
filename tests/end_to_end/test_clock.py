"""A process's wall clock can be set by a test: else clocks that jump would show nothing."""

import subprocess
import sys
import time
from pathlib import Path

from events.runtime import SystemRuntime
from tests.end_to_end.clock import follow, set_ahead

HOUR = 3600.0


def told_by(file: Path) -> tuple[float, float]:
    """What a process that follows the file says before and after the file is changed to an hour ahead."""
    told = subprocess.run(
        [sys.executable, __file__, file],
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = map(float, told.stdout.split())
    return before, after


def test_the_clock_of_a_process_follows_a_file(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    set_ahead(clock, -HOUR)
    began = time.time()
    before, after = told_by(clock)
    assert began - HOUR <= before <= time.time() - HOUR
    assert began + HOUR <= after <= time.time() + HOUR


if __name__ == "__main__":
    follow(Path(sys.argv[1]))
    runtime = SystemRuntime()
    print(runtime.now())
    set_ahead(Path(sys.argv[1]), HOUR)
    print(runtime.now())
