"""What `redemptions run` shows first: where it listens, the demo secret, and how to try it."""

import sys
from pathlib import Path

from config.settings import Settings
from config.webhook_secrets import DEFAULT_TENANT

EXAMPLE = Path("examples/customer.redemption.succeeded.json")


def show_banner(settings: Settings, port: int | None) -> None:
    """On stdout; the log lines that follow go to stderr."""
    url = f"http://{settings.ingress_host}:{port}/webhooks/voucherify"
    secrets = settings.webhook_secrets.get(DEFAULT_TENANT, ())
    kept = settings.data_dir / "demo-secret"
    print(f"Listening for Voucherify webhooks at {url}")
    if kept.is_file() and secrets:
        print(f"Demo secret (kept in {kept}): {secrets[0].get_secret_value()}")
    print("Send the documented example from another terminal:")
    print(f"    {sys.argv[0]} send {EXAMPLE} --url {url}")
    print("and look at the result:")
    print(f"    {sys.argv[0]} ledger balance cust_IdgAFZxYwwHctOk9pPuMu308", flush=True)
