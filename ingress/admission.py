"""Who may knock, and how often: networks and a rate, off unless set; beside the signature."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.exceptions import HTTPException
from starlette.requests import Request

from events.runtime import Runtime
from ingress.answers import later

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


class Admission:
    """`networks`: who may come (empty: all). `proxies`: whose X-Forwarded-For is believed. `rate`: requests a
    second that are looked at, all senders together, with a burst of one second's worth (None: all)."""

    def __init__(
        self, networks: Sequence[Network], proxies: Sequence[Network], rate: float | None, runtime: Runtime
    ) -> None:
        self._networks = networks
        self._proxies = proxies
        self._rate = rate
        self._runtime = runtime
        self._left = max(rate or 0.0, 1.0)
        self._refilled = runtime.monotonic()

    def check(self, request: Request) -> None:
        """Raise 403 for a stranger, 503 with Retry-After over the rate: the sender tries again."""
        if self._networks and not _within(self._sender(request), self._networks):
            raise HTTPException(403, "not from here")
        if self._rate is not None and not self._spend(self._rate):
            raise later("over the rate limit", 1.0)

    def _spend(self, rate: float) -> bool:
        now = self._runtime.monotonic()
        self._left = min(max(rate, 1.0), self._left + (now - self._refilled) * rate)
        self._refilled = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def _sender(self, request: Request) -> Address | None:
        """The nearest address that is no proxy of ours. Everything left of it in the header is hearsay."""
        forwarded = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
        hops = [request.client.host if request.client else "", *reversed(forwarded)]
        for hop in hops:
            address = _address(hop)
            if not _within(address, self._proxies):
                return address
        return None


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    # A dual-stack listener sees IPv4 senders as ::ffff:a.b.c.d.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _within(address: Address | None, networks: Sequence[Network]) -> bool:
    return address is not None and any(
        address.version == network.version and address in network for network in networks
    )
