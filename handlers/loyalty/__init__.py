"""The loyalty ledger: facts of redemptions, and the points they entitle to."""
