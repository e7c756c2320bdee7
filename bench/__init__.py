"""This worker beside what a team would pick instead, on the same events, Kafka and database."""
