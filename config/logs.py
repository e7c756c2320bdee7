"""Logs: structlog and the libraries' own, on stderr, one line an event, as console text or JSON."""

import logging
import re
import sys
from contextlib import suppress
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_WITHHELD = "(withheld)"
_PERSONAL_OR_SECRET = frozenset(
    {"name", "email", "phone", "secret", "password", "token", "signature", "headers", "body", "payload"}
)
# Marks of direction too: after one of them a line reads otherwise than it is written.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LIBRARY_LEVEL = logging.WARNING


def configure(log_format: Literal["console", "json"], level: str) -> None:
    """Send all logs to stderr from now on. `level` is ours; the libraries' is at least warning."""
    number = logging.getLevelNamesMapping()[level.upper()]
    first: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = [_withhold, structlog.processors.format_exc_info, _escape, _renderer(log_format)]
    structlog.configure(
        processors=[*first, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=_STDERR),
        cache_logger_on_first_use=True,
    )
    _route_libraries(first, last, number)


def _route_libraries(first: list[Processor], last: list[Processor], level: int) -> None:
    """aiokafka, uvicorn, sqlalchemy, alembic and asyncio log through the standard library."""
    handler = logging.StreamHandler(_STDERR)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=first,
            processors=[_add_library, structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, _LIBRARY_LEVEL))
    # Through an outage of the broker it logs ten errors a second; the worker says once what it waits for.
    logging.getLogger("aiokafka").setLevel(logging.WARNING if level <= logging.DEBUG else logging.CRITICAL)


def _renderer(log_format: str) -> Processor:
    if log_format == "json":
        return structlog.processors.JSONRenderer(sort_keys=False)
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def _add_library(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["logger"] = event["_record"].name
    return event


def _withhold(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The last guard: nobody should pass such keys, but one who does must not leak them."""
    for key in _PERSONAL_OR_SECRET & event.keys():
        event[key] = _WITHHELD
    return event


def _escape(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Control characters as visible text: a sender could forge lines or drive the terminal with them.
    What is no text is rendered by repr or json, which escape by themselves."""
    for key, value in event.items():
        if key == "exception":
            # A traceback needs its lines; indented, none of them can pass for a line of the log.
            event[key] = "\n".join("    " + escaped(line) for line in value.split("\n"))
        elif isinstance(value, str):
            event[key] = escaped(value)
    return event


def escaped(text: str) -> str:
    """`text` with control characters, marks of direction and lone surrogates spelt as in Python: `\\x1b`."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


class _Stderr:
    """The standard error of this moment, whatever becomes of it."""

    def write(self, text: str) -> None:
        # A full disk or a closed pipe behind stderr must not stop a worker that runs well.
        with suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


_STDERR: Any = _Stderr()
