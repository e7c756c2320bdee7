"""Deliveries that are not what they should be, each with the reason code of its dead letter, if any."""

from random import Random
from typing import Any

from traffic.rendering import Rendering
from traffic.telling import Delivery, Telling


class Oddities:
    """What else arrives at a webhook, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._chance = Random(f"oddities-{seed}")
        self._rendering = Rendering(self._chance)
        self._customer = f"cust_s{seed}odd"

    def next(self, story: int) -> Delivery:
        make = self._chance.choice((self._left_alone, self._torn, self._contradiction, self._refused))
        return make(story)

    def _left_alone(self, story: int) -> Delivery:
        """A test send, or an event of another type: accepted, and nothing is kept."""
        zero = self._success(redemption="r_000000000000000000")
        other = self._rendering.in_envelope({"customer": {"id": self._customer}}, "customer.updated")
        return Delivery(self._rendering.written(self._chance.choice((zero, other))), story)

    def _torn(self, story: int) -> Delivery:
        """Bytes that are no JSON object."""
        mark = self._chance.getrandbits(64)
        body, reason = self._chance.choice(
            (
                (b'{"torn": %d' % mark, "not_json"),
                (b'{"number": NaN, "mark": %d}' % mark, "not_json"),
                (b'{"mark": "%d\xff"}' % mark, "not_utf8"),
                (b"[%d]" % mark, "not_an_object"),
                (b"[" * 100_000 + b"%d" % mark, "too_deep"),
            )
        )
        return Delivery(body, story, malformed=reason)

    def _contradiction(self, story: int) -> Delivery:
        """JSON that does not say what happened to which redemption."""
        render = self._rendering
        rollback = render.data(Telling(self._id(), rollback=True))
        rollback["redemption_rollback"] = {"id": render.new_id("rr"), "redemption": self._id()}
        stranger = {**rollback, "redemption": {"id": self._id()}}
        failed = render.data(Telling(render.new_id("rf")))
        choices: tuple[tuple[Any, str], ...] = (
            (render.in_envelope(rollback, "redemption.succeeded"), "rollback_under_success"),
            (render.in_envelope(failed, "redemption.succeeded"), "type_contradicts_result"),
            (render.in_envelope(stranger, "redemption.rollback.succeeded"), "different_originals"),
            (self._success(redemption=None), "no_redemption_id"),
            (self._success(redemption=f"{self._id()}\x00"), "unfit_id"),
            ({"type": "redemption.succeeded", "data": {"object": {"id": self._id()}}}, "unsupported_shape"),
        )
        content, reason = self._chance.choice(choices)
        return Delivery(render.written(content), story, malformed=reason)

    def _refused(self, story: int) -> Delivery:
        """Readable, but of no use to the ledger. Other handlers take it."""
        telling = Telling(self._id(), success=True)
        data = self._success(redemption=telling.redemption)
        unfit: tuple[Any, ...] = ("9.5", 10.25, True, 2**60, "much", [])
        reason = self._chance.choice(("unfit_amount", "unfit_customer_id", "unfit_order_id"))
        if reason == "unfit_amount":
            data["order"] = {"total_amount": self._chance.choice(unfit)}
        elif reason == "unfit_customer_id":
            data["customer"] = {"id": self._chance.choice((17, f"{self._customer}\x00", "c" * 256, ""))}
        else:
            data["order"]["id"] = "\x7f"
        return Delivery(self._rendering.written(data), story, telling, refused=reason)

    def _success(self, redemption: str | None) -> dict[str, Any]:
        return {
            "customer": {"id": self._customer},
            "order": {"id": self._rendering.new_id("ord"), "total_amount": 10_349},
            "redemption": {"id": redemption, "result": "SUCCESS"},
        }

    def _id(self) -> str:
        return self._rendering.new_id("r")
