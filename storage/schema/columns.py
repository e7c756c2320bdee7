"""What the tables share. Text keys compare bytewise (COLLATE "C"), so that Python, SQLite and PostgreSQL sort
alike, which the lock order needs."""

from sqlalchemy import MetaData, Text

Key = Text().with_variant(Text(collation="C"), "postgresql")
metadata = MetaData()
