"""The worker: fetch, decode, claim, apply, commit; delivery of pending effects; dead letters, replay."""
