"""From a telling to the bytes of a delivery, in any of the shapes and spellings that Voucherify uses."""

import json
from random import Random
from typing import Any

from traffic.telling import Telling

TYPES = {"succeeded": "succeeded", "rolled_back": "rollback.succeeded", "failed": "failed"}
ALPHANUMERICS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
EPOCH_DAY = "2026-03-13"


class Rendering:
    """Chooses shape and spelling at random, the same for the same seed."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance

    def new_id(self, prefix: str) -> str:
        """Today's form (18 hex digits) or the older one (24 alphanumerics)."""
        if self._chance.random() < 0.7:
            return f"{prefix}_{self._chance.getrandbits(72):018x}"
        return f"{prefix}_{''.join(self._chance.choices(ALPHANUMERICS, k=24))}"

    def body(self, telling: Telling) -> bytes:
        """A delivery that says exactly what `telling` says."""
        data = self.data(telling)
        # Without an envelope a failure says so by its result, a rollback by its object or its status.
        return self.written(self.in_some_envelope(data, TYPES[telling.kind]))

    def data(self, telling: Telling) -> dict[str, Any]:
        """The payload without an envelope."""
        if telling.rollback:
            return self._rolled_back(telling)
        redemption = self._redemption(telling)
        order = self._order(telling)
        data: dict[str, Any] = {"redemption": redemption, "promotion_tier": None, "holder": None}
        # The order now, the order as it was, or both: either alone has to do.
        if order is not None:
            places = self._chance.choice(((data,), (redemption,), (data, redemption)))
            for place in places:
                place["order"] = order
        self._put_customer(data, redemption, telling.customer)
        if telling.voucher:
            data["voucher"] = {"code": "SPRING-2026", "type": telling.type, "object": "voucher"}
            redemption["voucher"] = {"code": "SPRING-2026", "active": None, "object": "voucher"}
        if telling.tier:
            data["promotion_tier"] = {"id": self.new_id("promo"), "name": None, "object": "promotion_tier"}
        return data

    def in_envelope(self, data: Any, type: str, *, distribution: bool = False) -> dict[str, Any]:
        """The envelope of a project webhook or of a distribution; `type` is the event's."""
        source = {"id": self.new_id("distr" if distribution else "wh"), "target_url": None}
        return {
            "id": self.new_id("whs"),
            "project_id": "proj_synthetic",
            "type": "Voucher-redeemed" if distribution else type,
            "source": source | {"object": "distribution" if distribution else "webhook"},
            "event": {
                "id": self.new_id("evcus" if distribution else "evred"),
                "type": type,
                "group_id": None,
            },
            "data": data,
        }

    def in_some_envelope(self, data: dict[str, Any], happened: str) -> dict[str, Any]:
        match self._chance.randrange(3):
            case 0:
                return data
            case 1:
                return self.in_envelope(data, f"redemption.{happened}")
            case _:
                return self.in_envelope(data, f"customer.redemption.{happened}", distribution=True)

    def written(self, content: Any) -> bytes:
        """As JSON, compact or with blanks: a signature holds for both."""
        indent = self._chance.choice((None, None, None, 2))
        return json.dumps(content, indent=indent).encode()

    def _redemption(self, telling: Telling) -> dict[str, Any]:
        said: dict[str, Any] = {
            "id": telling.redemption,
            "date": self._date(),
            "tracking_id": "track_8RFQINPxgc+pykybVOUEXQ==",
            "result": "SUCCESS" if telling.success else "FAILURE",
            "status": self._chance.choice(("SUCCEEDED", None) if telling.success else ("FAILED", None)),
            "metadata": self._chance.choice(({}, None, {"location_id": []})),
            "object": "redemption",
        }
        if telling.parent:
            said["redemption"] = telling.parent
        if telling.reward:
            said["reward"] = {"id": self.new_id("rew"), "type": "COIN"}
        if telling.channel:
            said["channel"] = {"channel_id": "synthetic", "channel_type": telling.channel}
        return said

    def _rolled_back(self, telling: Telling) -> dict[str, Any]:
        """The redemption still says SUCCESS; with and without its status changed, in both spellings."""
        status = self._chance.choice(("ROLLED BACK", "ROLLED_BACK", "SUCCEEDED"))
        undone = {"id": telling.redemption, "date": self._date(), "result": "SUCCESS", "status": status}
        data: dict[str, Any] = {"redemption": undone, "order": {"status": "CANCELED", "object": "order"}}
        if status == "SUCCEEDED" or self._chance.random() < 0.8:
            data["redemption_rollback"] = {
                "id": self.new_id("rr"),
                "redemption": telling.redemption,
                "date": self._date(),
                "result": "SUCCESS",
                "status": "SUCCEEDED",
                "metadata": None,
                "object": "redemption_rollback",
            }
        return data

    def _order(self, telling: Telling) -> dict[str, Any] | None:
        order = {
            "id": telling.order,
            "status": telling.status,
            "amount": self._number(telling.amount),
            "total_amount": self._number(telling.total),
            "total_discount_amount": self._number(telling.discount),
        }
        known = {name: value for name, value in order.items() if value is not None}
        if not known:
            return None
        return known | {"source_id": None, "items": [], "referrer_id": None, "object": "order"}

    def _put_customer(self, data: dict[str, Any], redemption: dict[str, Any], customer: str | None) -> None:
        """In one of the places that name the redeemer."""
        if customer is None:
            data["customer"] = None
            return
        person: dict[str, Any] = {
            "id": customer,
            "email": None,
            "source_id": None,
            "metadata": {},
            "object": "customer",
        }
        match self._chance.randrange(5):
            case 0:
                redemption["customer_id"] = customer
            case 1:
                redemption["customer"] = person
            case _:
                data["customer"] = person

    def _number(self, value: int | None) -> Any:
        """Mostly as it is; a payload designer quotes numbers, and others write them with a fraction of 0."""
        if value is None:
            return None
        return self._chance.choice((value, value, value, str(value), float(value)))

    def _date(self) -> str:
        chance = self._chance
        hour, minute, second = chance.randrange(24), chance.randrange(60), chance.randrange(60)
        return f"{EPOCH_DAY}T{hour:02}:{minute:02}:{second:02}.{chance.choice(('535', '638635'))}Z"
