"""The points rules written a second time, slowly and by themselves: what the balances must come to."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

FIELDS = ("order", "parent", "customer", "amount", "total", "discount", "type", "channel", "status")
FLAGS = ("voucher", "tier", "reward", "success", "rollback")
Telling = dict[str, Any]
"""What one delivery says: a `redemption`, and any of FIELDS and FLAGS."""


def expected_balances(tellings: Iterable[Telling]) -> dict[str, int]:
    known: dict[str, Telling] = {}
    for telling in tellings:
        row = known.setdefault(telling["redemption"], {"redemption": telling["redemption"]})
        for field in FIELDS:
            values = [each[field] for each in (row, telling) if each.get(field) is not None]
            row[field] = min(values) if values else None
        for flag in FLAGS:
            row[flag] = row.get(flag, False) or telling.get(flag, False)
    orders: dict[str, list[Telling]] = {}
    for row in known.values():
        gone = row["rollback"] or known.get(row["parent"] or "", {}).get("rollback", False)
        if row["success"] and not gone and _may_earn(row):
            orders.setdefault(row["order"] or row["parent"] or row["redemption"], []).append(row)
    balances: Counter[str] = Counter()
    for rows in orders.values():
        rows.sort(key=lambda row: row["redemption"].encode())
        decider = sorted(rows, key=_rank)[0]
        owner = next((row["customer"] for row in [decider, *rows] if row["customer"]), None)
        if owner:
            balances[owner] += max(0, _base(decider) or 0) // 100
    return {customer: points for customer, points in balances.items() if points}


def _may_earn(row: Telling) -> bool:
    spent = row["type"] == "LOYALTY_CARD" or row["reward"] or row["channel"] == "AUTO_REDEEM"
    return not spent and row["status"] not in {"CREATED", "CANCELED"}


def _rank(row: Telling) -> tuple[Any, ...]:
    parent = not row["parent"] and not row["voucher"] and not row["tier"]
    base = _base(row)
    return (-(row["discount"] or 0), 0 if parent else 1, float("inf") if base is None else base)


def _base(row: Telling) -> int | None:
    if row["total"] is None and row["amount"] is not None:
        return int(row["amount"]) - (row["discount"] or 0)
    total: int | None = row["total"]
    return total
