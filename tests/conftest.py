"""The services that tests of every package may ask for."""

pytest_plugins = ["tests.services.kafka", "tests.services.postgres", "tests.services.databases"]
