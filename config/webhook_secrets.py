"""The reading of WEBHOOK_SECRETS: entries `secret` or `tenant=secret`."""

import re

DEFAULT_TENANT = "default"
SHORTEST_SECRET = 8
"""Bytes. Whoever guesses the secret writes the ledger."""

_TENANT = re.compile(r"[a-z0-9-]{1,63}")
_PLACEHOLDER = re.compile(r"\$\{.*\}|\$\(.*\)|\{\{.*\}\}|^<.*>$")


def parse_webhook_secrets(value: str) -> dict[str, tuple[str, ...]]:
    """Secrets by tenant, in the order given; entries stand between commas.

    An entry names a tenant when what precedes its first `=` can be a tenant's name, unless all that follows
    is base64 padding (`c2vjcmv0ca==`). A secret that would be read otherwise (`abc=def...`) is written with
    its tenant: `default=abc=def...`.
    """
    secrets: dict[str, dict[str, None]] = {}
    for place, entry in enumerate(value.split(","), start=1):
        tenant, secret = _split(entry.strip())
        _check(secret, place)
        secrets.setdefault(tenant, {})[secret] = None
    return {tenant: tuple(unique) for tenant, unique in secrets.items()}


def _split(entry: str) -> tuple[str, str]:
    tenant, separator, secret = entry.partition("=")
    padding = not secret.strip("=") and len(entry) % 4 == 0
    # `acme=` is a variable that came out empty, not the secret of the default tenant.
    if separator and _TENANT.fullmatch(tenant) and not padding:
        return tenant, secret.strip()
    return DEFAULT_TENANT, entry


def _check(secret: str, place: int) -> None:
    """Names an entry by its place: the message must not hold any part of a secret."""
    if not secret:
        raise ValueError(f"entry {place} is empty")
    if _PLACEHOLDER.search(secret):
        raise ValueError(f"entry {place} is a placeholder that was never filled in")
    if len(secret.encode()) < SHORTEST_SECRET:
        raise ValueError(f"entry {place} is shorter than {SHORTEST_SECRET} bytes")
