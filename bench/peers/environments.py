"""A virtual environment for each peer, made once: their dependencies do not agree with each other."""

import subprocess
import sys
from pathlib import Path

from bench.cell import Unprepared
from bench.services import CACHE

REQUIREMENTS = Path(__file__).parent / "requirements"


def python_of(peer: str) -> str:
    """The interpreter that has what `requirements/PEER.txt` names. Raises Unprepared."""
    wanted = (REQUIREMENTS / f"{peer}.txt").read_text()
    place = CACHE / "peers" / peer
    python, installed = place / "bin" / "python", place / "installed.txt"
    if not installed.exists() or installed.read_text() != wanted:
        uv = [sys.executable, "-m", "uv"]
        _run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place)])
        _run(
            [
                *uv,
                "pip",
                "install",
                "--quiet",
                "--python",
                str(python),
                "-r",
                str(REQUIREMENTS / f"{peer}.txt"),
            ]
        )
        installed.write_text(wanted)
    return str(python)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unprepared(f"cannot be installed: {done.stderr.strip()[-300:]}")


def versions() -> dict[str, str]:
    """The peers' versions, as their requirements pin them."""
    lines = [line for file in sorted(REQUIREMENTS.glob("*.txt")) for line in file.read_text().splitlines()]
    return dict(line.split("==") for line in lines if "==" in line)
