"""`make simulate`: many schedules, or one seed again with its trace."""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.campaign import Tally, campaign, one
from tests.simulation.result import Result

CHUNK = 100
SHOWN = 10


def main() -> int:
    arguments = _parsed()
    if arguments.seed is not None:
        return _show(one(arguments.seed, arguments.mutation))
    began, tally = time.monotonic(), Tally()
    chunks = [
        range(first, min(first + CHUNK, arguments.first + arguments.seeds))
        for first in range(arguments.first, arguments.first + arguments.seeds, CHUNK)
    ]
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for part in pool.map(campaign, chunks, [arguments.mutation] * len(chunks)):
            tally = tally.plus(part)
            for seed, wrong in part.failed:  # at once: whoever ends this early knows where to look
                print(f"WRONG: seed {seed}: {wrong}", file=sys.stderr)
            print(f"{tally.schedules} schedules, {len(tally.failed)} failed", file=sys.stderr, flush=True)
    return _tell(tally, time.monotonic() - began, arguments.jobs)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, metavar="N", help="how many schedules")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first seed")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), metavar="N", help="processes to share them"
    )
    parser.add_argument("--seed", type=int, metavar="SEED", help="this one schedule alone, with its trace")
    parser.add_argument("--mutation", metavar="NAME", help="break the product in this way first")
    return parser.parse_args()


def _show(result: Result) -> int:
    for at, what, *rest in result.trace:
        print(f"{at:9.4f}  {what:<24}", *rest)
    print(f"seed {result.seed}, trace {result.digest}, {result.steps} steps in {result.seconds:.1f} s")
    for wrong in result.wrong:
        print(f"WRONG: {wrong}")
    return 1 if result.wrong else 0


def _tell(tally: Tally, seconds: float, jobs: int) -> int:
    print(
        f"{tally.schedules} schedules in {seconds:.0f} s: {tally.schedules / seconds * 60:.0f} a minute with "
        f"{jobs} process{'es' if jobs > 1 else ''}, {tally.cpu / tally.schedules * 1000:.0f} ms of CPU each"
    )
    print(
        f"{tally.records} records, {tally.calls} calls to the outside, {tally.steps} steps, "
        f"{tally.seconds / 3600:.1f} simulated hours"
    )
    for name, times in sorted(tally.faults.items(), key=lambda fault: -fault[1]):
        print(f"{times:9}  {name}")
    for seed, wrong in tally.failed[:SHOWN]:
        print(f"WRONG: seed {seed}: {wrong}")
    if tally.failed:
        print(f"{len(tally.failed)} of {tally.schedules} schedules broke a promise. The trace of one:")
        print(f"    make simulate SEED={tally.failed[0][0]}")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
