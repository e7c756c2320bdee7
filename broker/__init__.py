"""The log: Kafka in production, an embedded SQLite log on one machine, behind the same small protocols."""
