"""What is done for a redemption event: the loyalty ledger, the log line, and the users' own."""
