"""The HTTP door: verify, bound, append, answer."""
