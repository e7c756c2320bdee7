"""The worked examples of docs/loyalty.md come true, in any order of arrival."""

import itertools
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from handlers.loyalty.policy_file import parse_policy
from tests.handlers.books import Books
from tests.handlers.deliveries import a_delivery

DOCS = Path(__file__).parents[2] / "docs" / "loyalty.md"
SECTION = DOCS.read_text().partition("<!-- examples -->")[2].partition("<!-- end of examples -->")[0]
EXAMPLES = re.findall(r"```toml\n(.*?)```\n```json\n(.*?)```\n```json\n(.*?)```", SECTION, re.DOTALL)


def test_every_example_is_found() -> None:
    assert len(EXAMPLES) == SECTION.count("```toml") >= 7


@pytest.mark.parametrize(("policy", "events", "points"), EXAMPLES)
async def test_an_example_of_the_docs_comes_true(
    sqlite_books: Books, policy: str, events: str, points: str
) -> None:
    sqlite_books.policy = parse_policy(policy)
    told: list[dict[str, Any]] = msgspec.json.decode(events)
    for arrival in itertools.permutations(told):
        tenant = sqlite_books.another_tenant()
        for data in arrival:
            await sqlite_books.apply(a_delivery(data, tenant))
        assert await sqlite_books.balances_of(tenant) == msgspec.json.decode(points)
    assert await sqlite_books.findings() == []
