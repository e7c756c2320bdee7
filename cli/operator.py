"""Who gives a command, for the audit."""

import os
from collections.abc import Mapping
from getpass import getuser
from typing import Any

from events.runtime import SystemRuntime
from storage.audit import Deed


def operator() -> str:
    """The user of the operating system; in a container it may have no name."""
    try:
        return getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"


def deed_of(
    action: str,
    what: Mapping[str, Any],
    *,
    reason: str | None = None,
    tenant: str | None = None,
    subject: str | None = None,
) -> Deed:
    """What the operator is about to do, under a key of its own: for `announce` or `audited`."""
    return Deed(SystemRuntime().token(), operator(), action, what, reason, tenant, subject)
