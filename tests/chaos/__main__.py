"""`make chaos SEED=n MINUTES=m`: one run as a program. Exit code 1: a promise was broken."""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from random import randrange

from tests.chaos.run import chaos


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=randrange(10_000))
    parser.add_argument("--minutes", type=float, default=10.0)
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix=f"chaos-{given.seed}-"))
    print(f"seed {given.seed}, {given.minutes:g} minutes, everything is kept in {directory}", flush=True)
    result = chaos(given.seed, given.minutes * 60, directory)
    print(json.dumps(result._asdict(), indent=2))
    print("all promises held" if not result.wrong else f"{len(result.wrong)} THINGS ARE WRONG")
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
