"""Synthetic traffic: events as Voucherify sends them, made from a seed, with what they must come to."""
