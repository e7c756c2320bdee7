"""The points policy that the settings ask for."""

from pathlib import Path

import config
from config.settings import Settings
from handlers.loyalty.policy import Policy
from handlers.loyalty.policy_file import load_policy

PACKAGED = Path(config.__file__).parent / "loyalty.toml"


def policy_in(settings: Settings) -> Policy:
    """Raises Misconfigured."""
    return load_policy(settings.loyalty_policy or PACKAGED)
