"""Templates: Jinja2 in a sandbox, with the escaping of each kind of channel; amounts and dates by locale."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_datetime
from babel.numbers import format_currency, format_decimal, get_currency_precision
from jinja2 import TemplateError, TemplateSyntaxError, pass_context
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from events.failures import Refused

LONGEST = 256 * 1024
"""Characters of a rendered text."""
LOCALE = re.compile(r"[A-Za-z0-9_-]{2,40}")


class TemplateFault(Exception):
    """A template's source is wrong: a line for people."""


FAULTS = (
    TemplateError,
    TemplateFault,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a template's own fault is raised as."""


def _slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _json(text: str) -> str:
    """As within the quotes of a JSON string."""
    return json.dumps(text)[1:-1]


def _finalizer(escape: Callable[[str], str]) -> Callable[[Any], Any]:
    """What is put out is escaped unless a filter such as `tojson` or `safe` says that it is fit already."""

    def finalize(value: Any) -> Any:
        if isinstance(value, Markup):
            return str(value)
        if value is None or isinstance(value, Undefined):
            return ""
        return escape(str(value).lower() if isinstance(value, bool) else str(value))

    return finalize


def _environment(**options: Any) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, **options)
    environment.filters |= {"money": money, "number": number, "date": date}
    return environment


@pass_context
def money(context: Context, minor: Any, currency: str | None = None) -> str:
    """Minor units as people write them: 10349 is $103.49 in the USA. Nothing for what is no amount."""
    if not isinstance(minor, int) or isinstance(minor, bool):
        return ""
    code = currency or context["currency"]
    amount = Decimal(minor).scaleb(-get_currency_precision(code))
    return format_currency(amount, code, locale=context["locale"])


@pass_context
def number(context: Context, value: Any) -> str:
    fits = isinstance(value, int) and not isinstance(value, bool)
    return format_decimal(value, locale=context["locale"]) if fits else ""


@pass_context
def date(context: Context, value: Any, format: str = "medium") -> str:
    """An ISO 8601 time in the person's zone and words."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return ""
    zone = ZoneInfo(context["zone"])
    return format_datetime(moment, format, tzinfo=zone, locale=context["locale"])


ENVIRONMENTS = {
    "html": _environment(autoescape=True, finalize=lambda value: "" if value is None else value),
    "text": _environment(finalize=_finalizer(str)),
    "slack": _environment(finalize=_finalizer(_slack)),
    "json": _environment(finalize=_finalizer(_json)),
}
"""By how the text is escaped."""


@lru_cache(maxsize=1024)
def compiled(source: str, escaping: str) -> Any:
    """Raises TemplateFault."""
    try:
        return ENVIRONMENTS[escaping].from_string(source)
    except TemplateSyntaxError as wrong:
        raise TemplateFault(f"line {wrong.lineno}: {wrong.message}") from None
    except Exception as wrong:  # a name of a filter or test, a recursion of the parser
        raise TemplateFault(f"{type(wrong).__name__}: {wrong}") from None


def render(source: str, escaping: str, variables: Mapping[str, Any]) -> str:
    """Raises Refused: the same template with the same event fails for ever."""
    pieces, size = [], 0
    try:
        for piece in compiled(source, escaping).generate(variables):
            pieces.append(piece)
            size += len(piece)
            if size > LONGEST:  # at once: a loop may have much more to say
                raise Refused("message_too_long", f"the rendered text has more than {LONGEST} characters")
    except FAULTS as wrong:
        # The class alone: the text of an error may quote the customer.
        raise Refused("template_error", f"the template cannot be rendered: {type(wrong).__name__}") from wrong
    return "".join(pieces)


def render_json(source: str, variables: Mapping[str, Any]) -> bytes:
    """Raises Refused."""
    text = render(source, "json", variables)
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        raise Refused("template_error", "what the template gave is no JSON") from None


@lru_cache(maxsize=256)
def known_locale(name: str) -> str | None:
    """`de-CH` and `de_CH` alike; None for a locale that nobody has."""
    if not LOCALE.fullmatch(name):
        return None
    try:
        return str(Locale.parse(name.replace("-", "_")))
    except (ValueError, TypeError, LookupError):
        return None
    except Exception:  # babel's own UnknownLocaleError is an Exception, no more
        return None
