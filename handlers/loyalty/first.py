"""What is posted for the commonest order by far, straight from its facts: one redemption, nothing posted yet,
a plain policy. At a third of the price of entitlement and posting; a test holds it against them. Pure."""

from handlers.loyalty.entitlement import Member, plain_points
from handlers.loyalty.facts import Key
from handlers.loyalty.policy import Version
from handlers.loyalty.posting import EARN, NOTHING_POSTED, Entry, Posted, entry_key_prefix


def first_posting(order: Key, tenant: str, member: Member, version: Version) -> tuple[Posted, Entry | None]:
    """How the order stands then, and the entry that brings it there. `version`: a policy's `plain` one."""
    facts = member.facts
    if not facts.counts:
        return NOTHING_POSTED, None
    account = facts.customer_id
    if not member.live:
        return (Posted(anonymous=True) if account is None else NOTHING_POSTED), None
    points = 0 if account is None else plain_points(facts, version)
    if account is None or not points:
        return Posted(account, 0, facts.redemption_id, account is None), None
    number, order_key = order
    entry = Entry(
        number,
        f"{entry_key_prefix(tenant, order_key)}:1",
        account,
        order_key,
        facts.redemption_id,
        EARN,
        points,
        version.version,
        # As `inputs_of` has it, all of whose other fields are left out.
        f'{{"base":{facts.base},"total_discount_amount":{facts.discount}}}',
    )
    return Posted(account, points, facts.redemption_id, False, None, 1), entry
