"""Which names a handler may have."""

import pytest

from cli.points_policy import PACKAGED
from consumer.letters import DEAD_LETTER_TOPIC
from events.failures import Misconfigured
from handlers.loyalty.policy_file import load_policy
from handlers.registry import load_handlers
from storage.handler_states import DECODING


class Taken:
    name = DECODING

    def settled(self, outcomes: object) -> None: ...


class TakenToo(Taken):
    name = DEAD_LETTER_TOPIC


@pytest.mark.parametrize("kind", [Taken, TakenToo])
def test_what_the_worker_calls_its_own_is_no_handlers_name(kind: type) -> None:
    with pytest.raises(Misconfigured, match="is not free"):
        load_handlers([f"{__name__}:{kind.__name__}"], load_policy(PACKAGED))
