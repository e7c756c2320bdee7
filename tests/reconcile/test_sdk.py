"""The tests' server against the official SDK: what it answers must be what Voucherify's own client reads."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError
from voucherify import ApiClient, Configuration, RedemptionsApi
from voucherify.models.parameter_created_before_after import ParameterCreatedBeforeAfter
from voucherify.models.parameter_order_list_redemptions import ParameterOrderListRedemptions
from voucherify.models.redemptions_list_response_body import RedemptionsListResponseBody

from reconcile.client import Voucherify as Client
from reconcile.moments import Window, moment
from tests.reconcile.test_events import told
from tests.reconcile.voucherify import (
    APP_ID,
    APP_TOKEN,
    Voucherify,
    a_failure,
    a_redemption,
    a_rollback,
)

ROWS = [
    a_redemption("r_1", 1),
    a_redemption("r_2", 2, customer=None, gift={"amount": 300}, amount=300, status="ROLLED_BACK"),
    a_redemption("r_3", 3, loyalty_card={"points": 200}, amount=200, redemption="r_4"),
    a_redemption("r_4", 4, voucher=None, related_object_type="redemption", status="SUCCEEDED"),
    a_redemption("r_5", 5, voucher=None, promotion_tier={"id": "promo_1", "campaign": {"id": "camp_1"}}),
    a_redemption("r_6", 6, reward={"id": "rew_1", "type": "COIN", "assignment_id": "rewa_1"}, order=None),
    a_redemption(
        "r_7", 7, related_redemptions={"rollbacks": [{"id": "rr_7", "date": "2026-03-02T00:00:00Z"}]}
    ),
    a_rollback("r_2", 8, status="ROLLED_BACK"),
    a_failure("rf_1", 9),
]


@pytest.fixture
def sdk(voucherify: Voucherify) -> RedemptionsApi:
    api_key = {"X-App-Id": APP_ID, "X-App-Token": APP_TOKEN}
    return RedemptionsApi(ApiClient(Configuration(host=voucherify.url, api_key=api_key)))


async def test_the_sdk_reads_of_our_server_what_we_read(
    sdk: RedemptionsApi, client: Client, voucherify: Voucherify
) -> None:
    voucherify.add(*ROWS)
    answer = sdk.list_redemptions(limit=100, page=1, order=ParameterOrderListRedemptions.CREATED_AT)
    assert answer.redemptions is not None
    ours = await client.page(Window(moment("2026-03-01"), moment("2026-04-01")), 1)
    rows = [json.loads(bytes(row)) for row in ours]
    read_by_sdk = RedemptionsListResponseBody.from_dict({"redemptions": rows})
    assert read_by_sdk is not None
    assert answer.redemptions == read_by_sdk.redemptions
    assert [row.id for row in answer.redemptions] == [row["id"] for row in ROWS]
    assert answer.redemptions[0].var_date == datetime(2026, 3, 1, 0, 0, 1, tzinfo=UTC)
    assert answer.redemptions[0].order.total_amount == 10_000
    assert answer.redemptions[7].redemption == "r_2"


async def test_the_sdk_asks_as_we_do(sdk: RedemptionsApi, client: Client, voucherify: Voucherify) -> None:
    created_at = ParameterCreatedBeforeAfter(
        after=datetime(2026, 3, 1, tzinfo=UTC), before=datetime(2026, 4, 1, tzinfo=UTC)
    )
    order = ParameterOrderListRedemptions.CREATED_AT
    sdk.list_redemptions(limit=100, page=99, order=order, created_at=created_at)
    await client.page(Window(moment("2026-03-01"), moment("2026-04-01")), 99)
    theirs, ours = (
        query | {name: moment(query[name]) for name in query if name.startswith("created_at")}
        for query in voucherify.queries
    )
    assert theirs == ours
    with pytest.raises(ValidationError):
        sdk.list_redemptions(page=100)
    with pytest.raises(ValidationError):
        sdk.list_redemptions(limit=101)


@pytest.mark.parametrize("more", [{"status": "ROLLED BACK"}, {"object": "other"}, {"amount": "300"}])
def test_what_the_sdk_refuses_we_read_all_the_same(more: dict[str, Any]) -> None:
    """It knows one spelling and closed lists; the contract wants both spellings and open ones."""
    with pytest.raises(ValidationError):
        RedemptionsListResponseBody.from_dict({"redemptions": [a_redemption(**more)]})
    assert told(a_redemption(**more)).event is not None
