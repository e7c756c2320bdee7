"""How the benchmarks call the product: its command, and the environment that settles where it works."""

import os
import sys

REDEMPTIONS = (sys.executable, "-m", "cli.main")
SECRET = "bench-secret"


def environment(bootstrap: str, events: str, dead_letters: str, **more: object) -> dict[str, str]:
    """Ours beside whatever else the machine needs, but no setting of the caller's."""
    own = {
        "kafka_bootstrap_servers": bootstrap,
        "events_topic": events,
        "dead_letters_topic": dead_letters,
        "webhook_secrets": SECRET,
        "admin_port": 0,
        "log_format": "json",
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("REDEMPTIONS_")}
    return inherited | {f"REDEMPTIONS_{name.upper()}": str(value) for name, value in (own | more).items()}
