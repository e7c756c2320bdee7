"""At the end of a run: is everything as the oracle says? Each question answers with what is wrong."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.chaos.deployment import Deployment
from tests.chaos.faults import Toll
from tests.chaos.load import Load
from tests.chaos.oracle import Letter, Truth, truth_of
from tests.chaos.outside import Call, calls
from tests.chaos.topic import published_letters

IDLE_SECONDS = 150
SHOWN = 5
"""Examples of each difference."""


def faults_found(deployment: Deployment, load: Load, tolls: list[Toll]) -> Iterator[str]:
    """What is wrong, in words; nothing when the promises held."""
    if refused := load.begun - len(load.accepted()):
        yield f"{refused} deliveries were never accepted: {dict(load.sending.answers)}"
    idle = deployment.site.ask("status", "--wait-idle", str(IDLE_SECONDS))
    if idle.code:
        yield f"work remains after {IDLE_SECONDS} s: {deployment.site.ask('status').out}{idle.err}"
    truth = truth_of(load.accepted())
    yield from _differences("balances", truth.balances, deployment.site.balances())
    if findings := deployment.site.ask("ledger", "verify").out.splitlines()[:-1]:
        yield f"ledger verify: {findings[:SHOWN]}"
    yield from _wrong_letters(deployment, truth, load)
    yield from _wrong_calls(truth, calls(deployment.calls), tolls)
    yield from _wrong_states(deployment.site.told("status"))


def _differences(what: str, due: dict[str, int], found: dict[str, int]) -> Iterator[str]:
    wrong = [
        f"{key}: {found.get(key, 0)} instead of {due.get(key, 0)}"
        for key in sorted(due.keys() | found.keys())
        if due.get(key, 0) != found.get(key, 0)
    ]
    if wrong:
        yield f"{len(wrong)} {what} differ: {'; '.join(wrong[:SHOWN])}"


def _wrong_letters(deployment: Deployment, truth: Truth, load: Load) -> Iterator[str]:
    """Each accepted delivery that deserves a letter has one; a request without an answer may have one."""
    question = 'SELECT id, value, reason, handler, partition, "offset" FROM dead_letters WHERE state = 0'
    rows = deployment.rows(question)
    found = Counter(Letter(bytes(row["value"]), row["reason"], row["handler"]) for row in rows)
    tries = load.tries()
    for letter in truth.letters.keys() | found.keys():
        due, most = truth.letters[letter], tries[letter.body] if truth.letters[letter] else 0
        if not due <= found[letter] <= most:
            yield (
                f"{found[letter]} dead letters {letter.reason} of {letter.handler} instead of {due}"
                f"{f' to {most}' if most > due else ''}: {letter.body[:200]!r}"
            )
    origins = Counter((row["partition"], row["offset"], row["handler"]) for row in rows)
    if doubles := [origin for origin, times in origins.items() if times > 1]:
        yield f"records with two letters: {doubles[:SHOWN]}"
    yield from _missing_on_the_topic(deployment, {row["id"] for row in rows})


def _missing_on_the_topic(deployment: Deployment, stored: set[str]) -> Iterator[str]:
    if missing := stored - published_letters(deployment.kafka.bootstrap_servers).keys():
        yield f"{len(missing)} dead letters never came to their topic: {sorted(missing)[:SHOWN]}"


def _wrong_calls(truth: Truth, made: list[Call], tolls: list[Toll]) -> Iterator[str]:
    times = Counter((call.kind, call.redemption) for call in made)
    if missing := truth.calls - times.keys():
        yield f"{len(missing)} calls to the outside were never made: {sorted(missing)[:SHOWN]}"
    if extra := times.keys() - truth.calls:
        yield f"{len(extra)} calls to the outside nobody asked for: {sorted(extra)[:SHOWN]}"
    if (found := unexplained(made, tolls)) > (most := sum(toll.calls for toll in tolls)):
        yield f"{found} calls were repeated, and the faults explain {most}"


def unexplained(made: list[Call], tolls: list[Toll]) -> int:
    """Repeated calls that no restored database has forgotten."""
    forgotten = [toll.since for toll in tolls if toll.since is not None]
    before: dict[tuple[str, str], float] = {}
    repeats = 0
    for call in sorted(made, key=lambda call: call.at):
        event = (call.kind, call.redemption)
        if event in before:
            # An hour may lie between a call and its mark: a slow machine's second here.
            repeats += not any(before[event] >= since - 1 and call.at > since for since in forgotten)
        before[event] = call.at
    return repeats


def _wrong_states(status: dict[str, Any]) -> Iterator[str]:
    dead = status["effects"]["dead"]
    letters = status["dead_letters"]["open"]
    if dead > letters:
        yield f"{dead} effects are dead, but there are only {letters} letters"
