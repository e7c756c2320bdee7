"""Settings and logs. Knows nobody."""
