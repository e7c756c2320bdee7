"""What groups dead letters of one cause: handler, error class, and the message without its variable parts."""

import hashlib
import re

_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,?"
_VARIABLE = re.compile(
    "|".join(
        (
            r"(?<!\w)'[^']*'|\"[^\"]*\"|`[^`]*`",
            r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b",
            # 2026-11-23, with or without a time and a zone
            r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?Z\b|[+-]\d\d:?\d\d)?)?",
            # Mon, 23 Nov 2026, or Nov 23, 2026
            rf"\b(?:{_DAY} )?\d{{1,2}}[ -]{_MONTH}[ -]\d{{2,4}}",
            rf"\b(?:{_DAY} )?{_MONTH} \d{{1,2}}(?:,? \d{{4}})?",
            # cust_0b4dA1, but not total_amount
            r"\b[a-z]+_(?=[0-9A-Za-z]*[0-9A-Z])[0-9A-Za-z]{4,}\b",
            # a hash or a token: long, and no word
            r"\b(?=[0-9a-fA-F]*[0-9])[0-9a-fA-F]{8,}\b|\b(?=[\w-]*[0-9])[\w-]{10,}\b",
            r"[0-9]+(?:[.,][0-9]+)*",
        )
    )
)


def normalised(error: str) -> str:
    """The message with `?` for ids, numbers, dates and whatever is quoted."""
    return _VARIABLE.sub("?", error)


def fingerprint(handler: str | None, error_class: str, error: str) -> str:
    parts = (handler or "", error_class, normalised(error))
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]
