"""Reading the audit: each deed with its result."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec

from storage.audit import RESULT
from storage.database import Transaction
from storage.row import Row


class AuditFilter(NamedTuple):
    """Which deeds; None: any. Times are milliseconds."""

    who: str | None = None
    action: str | None = None
    since: int | None = None
    until: int | None = None


class AuditedDeed(NamedTuple):
    """A deed as it was announced, and how it ended. Times are milliseconds."""

    key: str
    at: int
    who: str
    action: str
    tenant: str | None
    subject: str | None
    reason: str | None
    what: dict[str, Any]
    outcome: str | None
    """done, failed or interrupted; None: it goes on, or its process was killed."""
    counts: dict[str, int]
    error: str | None
    ended_at: int | None


async def read_audit(
    transaction: Transaction, wanted: AuditFilter, limit: int | None = None
) -> AsyncIterator[AuditedDeed]:
    """Deeds, the newest first."""
    conditions = {
        "who": "a.who = :who",
        "action": "a.action = :action",
        "since": "a.at >= :since",
        "until": "a.at < :until",
    }
    given = {name: value for name, value in wanted._asdict().items() if value is not None}
    where = " AND ".join(["a.result_of IS NULL", *(conditions[name] for name in given)])
    most = f"LIMIT {int(limit)}" if limit is not None else ""
    sql = (
        "SELECT a.key, a.at, a.who, a.action, a.tenant, a.subject, a.reason, a.content, "
        "r.content AS result, r.at AS ended_at "
        f"FROM audit a LEFT JOIN audit r ON r.key = a.key || '{RESULT}' "
        f"WHERE {where} ORDER BY a.at DESC, a.key DESC {most}"
    )
    async for row in transaction.stream(sql, **given):
        yield _deed(row)


def _deed(row: Row) -> AuditedDeed:
    result = msgspec.json.decode(row.result) if row.result else {}
    return AuditedDeed(
        key=row.key,
        at=row.at,
        who=row.who,
        action=row.action,
        tenant=row.tenant,
        subject=row.subject,
        reason=row.reason,
        what=msgspec.json.decode(row.content),
        outcome=result.get("outcome"),
        counts=result.get("counts", {}),
        error=result.get("error"),
        ended_at=row.ended_at,
    )
