"""The things that happen to an order, each told in some deliveries and with the points it must leave."""

from collections.abc import Callable, Sequence
from random import Random

from traffic.rendering import Rendering
from traffic.telling import Delivery, Story, Telling

STEP = 100
"""Minor units for one point: the default policy."""


class Stories:
    """Tells one story after the other, the same for the same seed."""

    def __init__(self, seed: int, customers: int = 50) -> None:
        self._chance = chance = Random(f"stories-{seed}")
        self._rendering = Rendering(chance)
        self._customers = [f"cust_s{seed}n{number}" for number in range(customers)]
        self._number = 0

    def next(self, number: int) -> Story:
        """Some story, which becomes the load's story `number`."""
        self._number = number
        tell: Callable[[], Story] = self._chance.choices(
            (self._sale, self._undone, self._stack, self._one_order, self._partial, self._earns_nothing),
            (10, 4, 4, 3, 2, 4),
        )[0]
        return tell()

    def _tell(self, tellings: Sequence[Telling], points: int, customer: str) -> Story:
        return Story(tuple(self._delivery(telling) for telling in tellings), customer, points)

    def _delivery(self, telling: Telling) -> Delivery:
        return Delivery(self._rendering.body(telling), self._number, telling)

    def _sale(self) -> Story:
        """One redemption of a voucher or a promotion, by one webhook or by several."""
        telling, points = self._success()
        return self._tell([telling] * self._chance.choice((1, 1, 2, 3)), points, telling.customer or "")

    def _undone(self) -> Story:
        """Rolled back, once or under two rollback ids; at times we never hear of the success."""
        telling, _ = self._success()
        back = Telling(telling.redemption, rollback=True)
        told = [telling] * self._chance.choice((0, 1, 1, 2)) + [back] * self._chance.choice((1, 1, 2))
        return self._tell(self._shuffled(told), 0, telling.customer or "")

    def _stack(self) -> Story:
        """A parent and its children: each child's amounts are a running state, the parent's are final."""
        chance, customer = self._chance, self._customer()
        parent, count = self._rendering.new_id("r"), chance.randint(2, 5)
        order = chance.choice((self._rendering.new_id("ord"), None))
        amount = chance.randrange(20_000, 200_000)
        discounts = [chance.randrange(1, 3_000) for _ in range(count)]
        told = [
            self._on(order, amount, sum(discounts[: number + 1]), customer)._replace(
                redemption=self._rendering.new_id("r"), parent=parent
            )
            for number in range(count)
        ]
        final = amount - sum(discounts)
        whole = self._on(order, amount, sum(discounts), customer)
        told.append(whole._replace(redemption=parent, voucher=False, tier=False, type=None))
        undone = chance.random() < 0.3
        if undone:
            told.append(Telling(parent, rollback=True))
            told += [
                Telling(child.redemption, rollback=True) for child in told[:count] if chance.random() < 0.5
            ]
        return self._tell(self._shuffled(told), 0 if undone else final // STEP, customer)

    def _one_order(self) -> Story:
        """Several redemptions on one order, one after the other; the last may be taken back."""
        chance, customer, order = self._chance, self._customer(), self._rendering.new_id("ord")
        amount, discount, told = chance.randrange(20_000, 200_000), 0, list[Telling]()
        for _ in range(chance.randint(2, 3)):
            discount += chance.randrange(1, 3_000)
            told.append(self._on(order, amount, discount, customer))
        decides = told[-1]
        if chance.random() < 0.4:
            decides = told[-2]
            told.append(Telling(told[-1].redemption, rollback=True))
        return self._tell(self._shuffled(told), (decides.total or 0) // STEP, customer)

    def _partial(self) -> Story:
        """A designed payload that knows little beside the whole one; or two that contradict each other."""
        telling, points = self._success()
        other = Telling(telling.redemption, success=True, customer=telling.customer)
        if telling.total is not None and self._chance.random() < 0.5:
            other = telling._replace(total=telling.total + 700)  # the smaller of two known values wins
        return self._tell(self._shuffled([telling, other]), points, telling.customer or "")

    def _earns_nothing(self) -> Story:
        """Points spent, rewards, automatic redemptions, unpaid orders, strangers, and what failed."""
        telling, _ = self._success()
        variants = (
            telling._replace(voucher=True, tier=False, type="LOYALTY_CARD"),
            telling._replace(reward=True),
            telling._replace(channel="AUTO_REDEEM"),
            telling._replace(status="CREATED"),
            telling._replace(customer=None),
            telling._replace(amount=1_000, total=None, discount=1_500),
            Telling(self._rendering.new_id("rf"), customer=telling.customer),
        )
        return self._tell([self._chance.choice(variants)], 0, telling.customer or "")

    def _success(self) -> tuple[Telling, int]:
        """A redemption that stands alone, and its points."""
        chance = self._chance
        amount, discount = chance.randrange(3_000, 200_000), chance.randrange(1, 3_000)
        telling = self._on(self._rendering.new_id("ord"), amount, discount, self._customer())
        form = chance.randrange(4)
        if form == 0:
            telling = telling._replace(total=None)
        elif form == 1:
            telling = telling._replace(amount=None, discount=None)
        elif form == 2:
            telling = telling._replace(order=None)
        return telling, (amount - discount) // STEP

    def _on(self, order: str | None, amount: int, discount: int, customer: str) -> Telling:
        tier = self._chance.random() < 0.3
        return Telling(
            self._rendering.new_id("r"),
            success=True,
            order=order,
            customer=customer,
            amount=amount,
            total=amount - discount,
            discount=discount,
            status=self._chance.choice(("PAID", "FULFILLED", None)),
            type=None if tier else self._chance.choice(("DISCOUNT_VOUCHER", "GIFT_VOUCHER")),
            voucher=not tier,
            tier=tier,
        )

    def _customer(self) -> str:
        return self._chance.choice(self._customers)

    def _shuffled(self, tellings: Sequence[Telling]) -> list[Telling]:
        return self._chance.sample(tellings, len(tellings))
