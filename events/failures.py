"""The fates of an event that could not be processed: an error's class says what happens next."""


class Failure(Exception):
    """A failure with a stable reason code (for dead letters, metrics, docs) and a sentence for people.

    The sentence must never hold names, e-mail addresses or secrets: it is logged and stored.
    """

    reason: str

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Malformed(Failure):
    """Never readable, for any handler. Dead letter at once, no handler runs."""


class Refused(Failure):
    """Readable, but this handler's rules or needs forbid it. Dead letter for this handler alone."""

    def __init__(self, reason: str, message: str, *, answered: bool = False) -> None:
        super().__init__(reason, message)
        self.answered = answered
        """A dependency said no: so it is there."""


class Unavailable(Failure):
    """A dependency did not answer. Wait and try again; never skip, never a dead letter by itself."""

    def __init__(
        self, reason: str, message: str, retry_after: float | None = None, *, sent: bool = False
    ) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after
        """Seconds that the dependency asked us to wait, if it said so."""
        self.sent = sent
        """The request went out: for all we know it was carried out, and only the answer was lost."""


class Away(Unavailable):
    """Not even called: what it depends on has answered nobody lately, and is asked by one call at a time."""

    def __init__(self, dependency: str) -> None:
        super().__init__("dependency_away", f"{dependency} has answered nobody lately")
        self.dependency = dependency


class DatabaseUnavailable(Unavailable):
    """The worker's own database did not answer. Nobody else is to blame, and no try is used up."""


class Misconfigured(Failure):
    """Our own fault: refused credentials, a missing table or topic. Stop intake, readiness off, say so."""
