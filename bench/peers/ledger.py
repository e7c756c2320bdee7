"""The effects that every peer has: a dedup mark, a ledger entry, a balance, in PostgreSQL, set by set."""

from typing import Any

SCHEMA = """
CREATE TABLE marks (redemption_id text PRIMARY KEY);
CREATE TABLE entries (redemption_id text PRIMARY KEY, customer_id text NOT NULL, points bigint NOT NULL);
CREATE TABLE balances (customer_id text PRIMARY KEY, points bigint NOT NULL) WITH (fillfactor = 80);
"""

STORE = """
WITH told AS (
  SELECT DISTINCT ON (redemption_id) * FROM unnest($1::text[], $2::text[], $3::bigint[])
    AS event (redemption_id, customer_id, points)
), new AS (
  INSERT INTO marks SELECT redemption_id FROM told ON CONFLICT DO NOTHING RETURNING redemption_id
), posted AS (
  INSERT INTO entries SELECT told.* FROM told JOIN new USING (redemption_id) RETURNING customer_id, points
)
INSERT INTO balances SELECT customer_id, sum(points) FROM posted GROUP BY customer_id ORDER BY customer_id
ON CONFLICT (customer_id) DO UPDATE SET points = balances.points + excluded.points
"""
"""A whole batch in one statement and one round trip; a batch of one for those that work per message.
Parameters: redemption ids, customer ids, points, each an array."""

Row = tuple[str, str, int]


def row_of(payload: dict[str, Any]) -> Row:
    return payload["redemption"]["id"], payload["customer"]["id"], payload["order"]["total_amount"] // 100


def columns(rows: list[Row]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
