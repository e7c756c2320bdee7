"""The services that tests of every package may ask for, and how hypothesis behaves in all of them."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.services.kafka", "tests.services.postgres", "tests.services.databases"]

# No timed asserts: on a busy machine each of these fails for no reason of ours.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
