"""Compares what Voucherify lists with what the ledger knows, and puts what is missing on the log."""
