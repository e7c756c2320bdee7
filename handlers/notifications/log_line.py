"""The log channel: one structured line, ids and figures alone, with a template's text if there is one."""

import structlog

from handlers.notifications.message import Message, Rendered
from handlers.notifications.wording import text_of

log = structlog.get_logger("redemptions.notifications")
TOLD = ("redemption_id", "customer_id", "order_id", "points", "balance")


class LogCarrier:
    """Writes to the process's log."""

    def render(self, message: Message) -> Rendered:
        line = {"key": message.key, "rule": message.rule.name, "kind": message.kind}
        line |= {name: message.content[name] for name in TOLD}
        if message.template and message.template.text is not None:
            line["text"] = text_of(message, "text")
        return Rendered(line, line)

    async def send(self, message: Message, rendered: Rendered) -> None:
        log.info("notification", **rendered.payload)

    async def close(self) -> None:
        """Nothing to close."""
