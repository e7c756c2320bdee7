"""From an environment to checked Settings, or to one clear line that says what is wrong."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from config.given import SECRETS, Given, Text, read
from config.settings import Settings

_SHOWN = 60
"""Characters of a wrong value that an error repeats."""


class WrongSettings(Exception):
    """The settings cannot be used. Its text is one line; `faults` has a sentence for each thing wrong."""

    def __init__(self, faults: list[str]) -> None:
        more = len(faults) - 1
        super().__init__(faults[0] + (f" (and {more} more: see `redemptions config show`)" if more else ""))
        self.faults = faults


def load(env: Mapping[str, str], config_file: Path | None = None) -> Settings:
    """Raises WrongSettings."""
    settings, faults = check(read(env, config_file))
    if settings is None or faults:
        raise WrongSettings(faults)
    return settings


def check(given: Given) -> tuple[Settings | None, list[str]]:
    """The settings, None if a value is wrong, and all that is wrong with names and values."""
    try:
        settings = Settings(**{name: text.value for name, text in given.texts.items()})  # type: ignore[arg-type]
    except ValidationError as wrong:
        return None, given.faults + _sentences(wrong, given.texts)
    files = {name: text.file for name, text in given.texts.items() if text.file is not None}
    return settings.read_from(files), given.faults


def _sentences(wrong: ValidationError, texts: Mapping[str, Text]) -> list[str]:
    """A sentence a setting; a rule that joins several settings names them itself."""
    sentences: dict[str, str] = {}
    for error in wrong.errors(include_url=False, include_context=False, include_input=False):
        name = str(error["loc"][0]) if error["loc"] else ""
        reason = error["msg"].removeprefix("Value error, ").replace("Input should", "should", 1)
        sentences.setdefault(name, f"{_shown(name, texts[name])}{reason}" if name else reason)
    return list(sentences.values())


def _shown(name: str, text: Text) -> str:
    return f"{text.label}: " if name in SECRETS else f"{text.label}: {text.value[:_SHOWN]!r} "
