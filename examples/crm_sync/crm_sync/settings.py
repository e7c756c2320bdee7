"""Where the CRM is, and with what right we call it: CRM_SYNC_URL, CRM_SYNC_TOKEN or CRM_SYNC_TOKEN_FILE."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Settings(NamedTuple):
    url: str
    token: str | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Settings":
        """Raises ValueError: the worker then does not start, and says why in one line."""
        url = environment.get("CRM_SYNC_URL", "")
        if not url.startswith(("https://", "http://")):
            raise ValueError("CRM_SYNC_URL is no http:// or https:// URL")
        token = environment.get("CRM_SYNC_TOKEN")
        if file := environment.get("CRM_SYNC_TOKEN_FILE"):
            token = Path(file).read_text(encoding="utf-8").strip()
        return cls(url.rstrip("/"), token)
