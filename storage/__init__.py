"""The database: effects, dead letters, positions and the ledger's tables, on SQLite or PostgreSQL."""
