"""Every way in which the product is broken on purpose."""

from tests.simulation import mutations_of_batches, mutations_of_effects
from tests.simulation.mutation import MUTATIONS

__all__ = ["MUTATIONS", "mutations_of_batches", "mutations_of_effects"]
