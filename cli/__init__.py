"""The `redemptions` command: wires the packages together."""
