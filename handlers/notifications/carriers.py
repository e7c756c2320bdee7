"""The carrier of each channel that a file names."""

from collections.abc import Callable, Mapping

from events.failures import Misconfigured
from handlers.notifications.credentials import Credentials
from handlers.notifications.log_line import LogCarrier
from handlers.notifications.message import Carrier
from handlers.notifications.policy import Channel, Email, Policy, Slack, Webhook


def carriers_of(
    policy: Policy, credentials: Mapping[str, Credentials], now: Callable[[], float]
) -> dict[str, Carrier]:
    """By channel. `now`: seconds since 1970. Raises Misconfigured for a ca_file that cannot be read."""
    return {
        name: _carrier(name, channel, credentials[name], now) for name, channel in policy.channels.items()
    }


def _carrier(name: str, channel: Channel, credentials: Credentials, now: Callable[[], float]) -> Carrier:
    # Imported here: the clients take ten megabytes, which most workers have no use for.
    try:
        if isinstance(channel, Webhook | Slack):
            from handlers.notifications.webhook import HttpCarrier

            return HttpCarrier(channel, credentials, now)
        if isinstance(channel, Email):
            from handlers.notifications.mail import MailCarrier

            return MailCarrier(channel, credentials, now)
    except OSError as wrong:  # ssl.SSLError is one
        raise Misconfigured(
            "notifications_policy", f"channels.{name}.ca_file: cannot be used ({type(wrong).__name__})"
        ) from None
    return LogCarrier()
