"""`python -m tests.fuzz`: guided by coverage, until something falls or the time is up."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import TARGETS, documented

ROOT = Path(__file__).parents[2]
FOUND = ROOT / ".cache" / "fuzz"
"""What reached new code, kept from run to run, and what made a target fall."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("--target", choices=TARGETS, action="append")
    chosen = parser.parse_args()
    for target in chosen.target or TARGETS:
        corpus = FOUND / target
        corpus.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as seeds:
            _plant(Path(seeds), target)
            command = [sys.executable, "-m", "tests.fuzz.guided", target, str(corpus), seeds]
            command += [
                f"-max_total_time={chosen.seconds}",
                "-max_len=16384",
                "-timeout=20",
                "-rss_limit_mb=2048",
            ]
            command += [f"-artifact_prefix={corpus}-", "-print_final_stats=1", "-verbosity=1"]
            ended = subprocess.run(command, cwd=ROOT, check=False).returncode
        if ended:
            print(f"{target} fell: the bytes are beside {corpus}", file=sys.stderr)
            return ended
    return 0


def _plant(seeds: Path, target: str) -> None:
    """The documented payloads in every shape: chance alone would never come upon their keys."""
    header = b"0" * 64 if target == "authenticity" else b""
    for number, content in enumerate(documented()):
        (seeds / str(number)).write_bytes(header + content)


if __name__ == "__main__":
    sys.exit(main())
