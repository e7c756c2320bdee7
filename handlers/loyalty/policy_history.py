"""Which policies were in force, so that a change of the past is noticed before it is applied by halves."""

from datetime import UTC, datetime

from msgspec import structs

from events.failures import Misconfigured
from handlers.loyalty.policy import Policy, Version, policy_of, starts_at
from storage.database import Database, Transaction

UNKNOWN_DATE = None


async def policies_of(transaction: Transaction) -> list[Policy]:
    """All that were ever in force, the latest first."""
    rows = await transaction.run("SELECT document FROM policies ORDER BY admitted_at DESC, fingerprint")
    return [policy_of(row.document) for row in rows]


async def admit(database: Database, policy: Policy) -> None:
    """Take a policy into force; nothing to do if it is. Raises Misconfigured if it would change the past."""
    async with database.transaction() as transaction:
        now: int = (await transaction.run("SELECT {now} AS now"))[0].now
        known = await policies_of(transaction)
        if known and known[0].fingerprint == policy.fingerprint:
            return
        since = changed_since(known[0], policy) if known else now
        if since is not None and since < now:
            raise Misconfigured(
                "loyalty_policy",
                f"the loyalty policy changes what redemptions {_when(since)} earn: `redemptions ledger "
                "restate --dry-run` shows the differences, without --dry-run it posts them",
            )
        await record(transaction, policy)


async def record(transaction: Transaction, policy: Policy) -> None:
    """From now on this is the policy in force."""
    await transaction.run(
        "INSERT INTO policies (fingerprint, document, admitted_at) VALUES (:fingerprint, :document, {now}) "
        "ON CONFLICT (fingerprint) DO UPDATE SET admitted_at = excluded.admitted_at",
        fingerprint=policy.fingerprint,
        document=policy.document,
    )


def changed_since(old: Policy, new: Policy) -> int | None:
    """The earliest date (milliseconds since 1970; 0: the beginning) on which they differ; None: on none."""
    if _rules(old.version_at(UNKNOWN_DATE)) != _rules(new.version_at(UNKNOWN_DATE)):
        return 0
    starts = {starts_at(version) for policy in (old, new) for version in policy.versions}
    for date in sorted({0, *(start for start in starts if start is not None)}):
        if _rules(old.version_at(date)) != _rules(new.version_at(date)):
            return date
    return None


def _rules(version: Version | None) -> str | None:
    """What a version says, whatever its name and since when."""
    if version is None:
        return None
    return Policy([structs.replace(version, version="any", effective_from=None)]).document


def _when(since: int) -> str:
    return f"since {datetime.fromtimestamp(since / 1000, UTC):%Y-%m-%d %H:%M} UTC" if since else "of the past"
