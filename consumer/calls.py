"""The calls of one attempt: what each depends on, whether it may be made, and how it ended."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from consumer.breaker import Call
from consumer.dependencies import KnownDependencies
from consumer.switches import Switches
from events.failures import Away, DatabaseUnavailable, Refused, Unavailable


class Called(NamedTuple):
    dependency: str
    how: Call


class Calls:
    """Owns what is known of one attempt's calls. A handler that names none makes one, to `dependency`."""

    def __init__(
        self, dependency: str, known: KnownDependencies, switches: Switches, probes: str | None = None
    ) -> None:
        """`dependency`: what the effect is said to depend on. `probes`: what it may call in any case."""
        self._dependency = dependency
        self._known = known
        self._switches = switches
        self._probes = probes
        self._blamed: list[tuple[BaseException, str]] = []
        self._begun = 0
        """Where the current run's calls begin."""
        self.made: list[Called] = []
        self.probed: set[str] = set()
        """What was called although its breaker is open."""
        self.runs = 0
        """How many runs have failed."""

    @contextmanager
    def calling(self, dependency: str) -> Iterator[None]:
        """Around one call. Raises Away instead of making it."""
        name = self._known.fit(dependency) or self._dependency
        if self._switches.is_open(name):
            if name != self._probes and not self._switches.may_probe(name):
                raise Away(name)
            self.probed.add(name)
        try:
            yield
        except asyncio.CancelledError:  # by its time-out: after any other end nobody asks
            self.made.append(Called(name, Call.UNAVAILABLE))
            raise
        except Exception as error:
            self.made.append(Called(name, call_of(error)))
            self._blamed.append((error, name))
            raise
        self.made.append(Called(name, Call.ANSWERED))

    def answered(self) -> None:
        """A run ended well."""
        if len(self.made) == self._begun:
            self.made.append(Called(self._dependency, Call.ANSWERED))

    def failed(self, error: Exception) -> None:
        """A run ended so."""
        self.runs += 1
        calls, self._begun = self.made[self._begun :], len(self.made)
        if isinstance(error, (Away, DatabaseUnavailable)):
            return
        how = call_of(error)
        if not calls:
            self.made.append(Called(self._dependency, how))
        elif how is Call.UNAVAILABLE and all(call.how is not how for call in calls):
            # Judged after the call had ended: it was no answer.
            self.made[-1] = Called(calls[-1].dependency, how)
        self._begun = len(self.made)

    def blamed_for(self, error: Exception) -> str:
        """What an attempt that failed by this error depends on."""
        if isinstance(error, Away):
            return error.dependency
        silent = [call.dependency for call in self.made if call.how is Call.UNAVAILABLE]
        guilty = [name for blamed, name in self._blamed if blamed is error]
        return [self._dependency, *silent, *guilty][-1]


def call_of(error: Exception) -> Call:
    if isinstance(error, DatabaseUnavailable):
        return Call.NEITHER
    if isinstance(error, Refused) and error.answered:
        return Call.ANSWERED
    # OSError: connections that fail, and time-outs, ours included.
    return Call.UNAVAILABLE if isinstance(error, (Unavailable, OSError)) else Call.NEITHER
