"""A message as it is handed to a channel, and what came of handing it over."""

from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from events.event import RedemptionEvent
from handlers.notifications.people import Person
from handlers.notifications.policy import Rule, Template

SAFE = "!$&'()*+,-./;=?@[]^_`{|}~ "
"""What a key keeps as it is, with letters and digits: what a header may hold, less `:`, `%`, `\"`."""


class Message(NamedTuple):
    key: str
    """The idempotency key, the same for ever."""
    kind: str
    rule: Rule
    person: Person
    template: Template | None
    """None: the channel's own words."""
    content: dict[str, Any]
    """The document of `content_of`."""
    variables: dict[str, Any]
    """What templates may use."""


class Rendered(NamedTuple):
    """A message in the form its channel sends, and what a preview shows."""

    shown: dict[str, Any]
    payload: Any


class Skip(Exception):
    """This message cannot go: the reason code says what is missing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Carrier(Protocol):
    """One channel at work."""

    def render(self, message: Message) -> Rendered:
        """Pure. Raises Skip (no address), Refused (a template that cannot be rendered)."""

    async def send(self, message: Message, rendered: Rendered) -> None:
        """One call. Raises Unavailable (`sent`: perhaps it was carried out) or Refused."""

    async def close(self) -> None: ...


def key_of(event: RedemptionEvent, rule: Rule) -> str:
    """`notify:{tenant}:{kind}:{redemption}:{channel}:{template}`; what no header may hold is %-encoded."""
    parts = (event.tenant, event.kind.value, event.redemption_id, rule.channel, rule.template_name)
    return ":".join(("notify", *(quote(part, safe=SAFE) for part in parts)))
