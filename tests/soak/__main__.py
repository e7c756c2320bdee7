"""`python -m tests.soak`: prints the figures; exit code 1, and what was wrong, if anything was."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.end_to_end.nursery import Nursery
from tests.end_to_end.processes import Site
from tests.services.kafka import Kafka, _missing
from tests.soak.run import Door, Plan, soak

CROWD = 1000
CROWD_SECONDS = 30.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, help="deliveries a second; else half of what the door can take")
    chosen = parser.parse_args()
    if reason := _missing():
        sys.exit(reason)
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        directory = Path(place)
        kafka, nursery = Kafka(directory / "kafka"), Nursery(directory / "nursery")
        site = Site(directory, nursery)
        try:
            kafka.start()
            plan = Plan(chosen.minutes * 60, chosen.rate, CROWD, CROWD_SECONDS)
            result = uvloop.run(soak(Door(site, kafka), plan))
        finally:
            site.close()
            nursery.close()
            kafka.kill()
    print(json.dumps(result.figures, indent=2))
    for each in (*result.wrong, *result.slow):
        print(each, file=sys.stderr)
    return 1 if result.wrong or result.slow else 0


if __name__ == "__main__":
    sys.exit(main())
