"""The secret that `run` makes for itself when none is configured: in the data dir, for its owner alone."""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp

_NAME = "demo-secret"


def demo_secret(data_dir: Path) -> str:
    """The demo secret, made at the first call. Raises OSError when the data dir cannot be used."""
    existing = existing_demo_secret(data_dir)
    if existing is not None:
        return existing
    data_dir.mkdir(parents=True, exist_ok=True)
    descriptor, written = mkstemp(dir=data_dir, prefix=_NAME)  # 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link, not a rename: of two processes that start together the first one's secret stays.
        with suppress(FileExistsError):
            os.link(written, data_dir / _NAME)
    finally:
        Path(written).unlink()
    made = existing_demo_secret(data_dir)
    if made is None:
        raise OSError(f"{data_dir / _NAME} is empty: delete it")
    return made


def existing_demo_secret(data_dir: Path) -> str | None:
    """The demo secret if there is one already."""
    try:
        return (data_dir / _NAME).read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None
