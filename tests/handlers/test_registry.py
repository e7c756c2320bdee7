"""Which names a handler may have, whom it may come after, and on whose terms it runs."""

from typing import Any

import pytest

from cli.points_policy import PACKAGED
from consumer.letters import DEAD_LETTER_TOPIC
from events.event import Kind
from events.failures import Misconfigured
from handlers.loyalty.policy_file import load_policy
from handlers.protocol import Handlers
from handlers.registry import load_handlers
from handlers.terms import Retry, terms_of
from handlers.terms_file import parse_terms
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


class Second:
    name = "second"
    kinds = (Kind.SUCCEEDED,)
    concurrency = 3
    timeout = 2.0
    retry = Retry(attempts=5)
    after: tuple[str, ...] = ("loyalty",)

    def wants(self, event: object) -> bool:
        return True

    async def run(self, attempt: object) -> None: ...


class AfterNobody(Second):
    after = ("loyalti",)


class AfterItself(Second):
    after = ("third",)


class Third(Second):
    name = "third"
    after = ("second",)


def loaded(*kinds: type, **more: Any) -> Handlers:
    return load_handlers([f"{__name__}:{kind.__name__}" for kind in kinds], load_policy(PACKAGED), **more)


def test_an_effect_handler_may_have_other_terms_than_it_declares() -> None:
    handlers = loaded(Second, terms=parse_terms("[second]\nrate = 5\n[notifications]\nrate = 1\n"))
    assert handlers.terms == {"second": terms_of(Second())._replace(rate=5)}
    assert loaded(Second).terms == {}


def test_terms_for_a_handler_that_there_is_not_are_refused() -> None:
    with pytest.raises(Misconfigured, match="no effect handler has the name secnd; did you mean second"):
        loaded(Second, terms=parse_terms("[secnd]\nrate = 5\n"))
    with pytest.raises(Misconfigured, match="no effect handler has the name loyalty"):
        loaded(terms=parse_terms("[loyalty]\nrate = 5\n"))


def test_who_would_wait_for_ever_is_refused() -> None:
    with pytest.raises(Misconfigured, match="after loyalti: there is none"):
        loaded(AfterNobody)
    with pytest.raises(Misconfigured, match="after itself"):
        loaded(AfterItself, Third)
