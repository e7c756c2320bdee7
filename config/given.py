"""What the environment and the `--config` file give: texts by setting, their origin, and wrong names."""

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from config.settings import PREFIX, Settings

SECRETS = ("webhook_secrets", "kafka_sasl_password", "database_url", "voucherify_app_token")
"""The settings never to be shown. Each may also be given as `<NAME>_FILE`, the path of a file with it."""

_LARGEST_SECRET_FILE = 65_536
_IN_FILE = {name: name for name in Settings.model_fields} | {f"{name}_file": name for name in SECRETS}
_IN_ENVIRONMENT = {PREFIX + name.upper(): setting for name, setting in _IN_FILE.items()}


class Text(NamedTuple):
    """A setting before it is checked, and the name its user knows it by."""

    value: str
    label: str
    file: Path | None = None
    """Where the value was read, when the setting names a file."""


class Given(NamedTuple):
    texts: dict[str, Text]
    """By setting."""
    faults: list[str]
    """A sentence each, with the name at fault; never with a value."""


def read(env: Mapping[str, str], config_file: Path | None) -> Given:
    """Read both; the environment wins over the file."""
    environment = _layer({label: env[label] for label in env if label.startswith(PREFIX)}, _IN_ENVIRONMENT)
    if config_file is None:
        return environment
    file = _config_file(config_file)
    return Given(file.texts | environment.texts, environment.faults + file.faults)


def _config_file(path: Path) -> Given:
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as wrong:
        return Given({}, [f"{path}: cannot be read: {wrong.strerror}"])
    except ValueError as wrong:  # TOML's and UTF-8's own errors are both of this class
        return Given({}, [f"{path}: not a TOML file: {wrong}"])
    return _layer(entries, _IN_FILE)


def _layer(entries: Mapping[str, Any], names: Mapping[str, str]) -> Given:
    given = Given({}, [])
    for label, entry in entries.items():
        try:
            if label not in names:
                raise ValueError(f"no such setting; did you mean {_nearest(label, names)}?")
            setting = names[label]
            if setting in given.texts:
                raise ValueError(f"given twice, as {given.texts[setting].label} too")
            value = _plain(entry)
            file = None if label.lower().endswith(setting) else Path(value)
            given.texts[setting] = Text(value if file is None else contents(file), label, file)
        except ValueError as wrong:
            given.faults.append(f"{label}: {wrong}")
    return given


def _nearest(label: str, names: Mapping[str, str]) -> str:
    """The known name most like this one: there is always one, so that the user sees what names look like."""
    bare = {name.removeprefix(PREFIX).lower(): name for name in names}
    return bare[get_close_matches(label.removeprefix(PREFIX).lower(), bare, n=1, cutoff=0.0)[0]]


def _plain(entry: Any) -> str:
    """An entry as the environment would give it; TOML lists become commas."""
    if isinstance(entry, list):
        return ",".join(_plain(each) for each in entry)
    if not isinstance(entry, str | int | float):
        raise ValueError("expected text, a number or a list of these")
    text = str(entry)
    if not text.strip():
        # A variable that failed to expand looks like this. Taken as unset it would
        # silently mean SQLite for PostgreSQL and the embedded log for Kafka.
        raise ValueError("is empty: give it a value or leave it out")
    if not text.isprintable():
        raise ValueError("holds control characters or is not UTF-8")
    return text


def contents(path: Path) -> str:
    """The secret in a file, without the line end that editors leave behind; several may stand one a line.

    Raises ValueError, which says what is wrong with the file and nothing of what it holds.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_SECRET_FILE + 1)
    except OSError as wrong:
        raise ValueError(f"the file cannot be read: {wrong.strerror}") from None
    if len(content) > _LARGEST_SECRET_FILE:
        raise ValueError(f"the file is larger than {_LARGEST_SECRET_FILE} bytes")
    return _plain(",".join(content.decode("utf-8").rstrip("\r\n").splitlines()))
