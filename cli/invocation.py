"""What the commands share: the `--config` file, and the settings once a command needs them."""

import os
from pathlib import Path
from typing import NamedTuple

import typer

from config.given import Given, read
from config.load import load
from config.logs import configure
from config.settings import Settings


class Invocation(NamedTuple):
    config_file: Path | None

    def settings(self) -> Settings:
        """The settings, with the logs set up by them. Raises WrongSettings."""
        settings = load(os.environ, self.config_file)
        configure(settings.log_format, settings.log_level)
        return settings

    def given(self) -> Given:
        """The settings as they were given, wrong ones included."""
        return read(os.environ, self.config_file)


def settings_of(context: typer.Context) -> Settings:
    """The settings, for a command that cannot do without. Raises WrongSettings."""
    return invocation_of(context).settings()


def invocation_of(context: typer.Context) -> Invocation:
    invocation = context.find_root().obj
    assert isinstance(invocation, Invocation)  # the root callback always leaves one
    return invocation
