"""How many points a deciding redemption is worth: 1 for each 100 minor units of its base, whole steps."""

from handlers.loyalty.facts import Facts

VERSION = "fixed-1"
"""Written on each entry, so that it stays clear by which rule it was posted."""
STEP = 100


def points(deciding: Facts) -> int:
    """A negative base earns nothing, and neither does an unknown one."""
    return max(deciding.base or 0, 0) // STEP
