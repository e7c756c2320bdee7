"""A harness for your own handler's tests: hurts it as a worker's life does, and looks at what is left.

    @asynccontextmanager
    async def crm() -> AsyncIterator[Trial]:
        async with FakeCrm() as fake:
            yield Trial(lambda: CrmSync(fake.url), lambda: fake.customers)

    async def test_the_crm_is_told_once() -> None:
        await check_effect_handler(crm, [redeemed("r_1"), rolled_back("r_1"), redeemed("r_2")])

Both checks run the worker's own code on SQLite databases of their own, many times over, and compare each run
with a calm one. They raise Broken, an AssertionError: what was done to the handler, and what it led to.
"""

from handlers.testing.bodies import redeemed, rolled_back
from handlers.testing.effects import Trial, check_effect_handler
from handlers.testing.findings import Broken
from handlers.testing.transactions import check_transactional_handler

__all__ = [
    "Broken",
    "Trial",
    "check_effect_handler",
    "check_transactional_handler",
    "redeemed",
    "rolled_back",
]
