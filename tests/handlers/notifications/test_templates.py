"""Templates: amounts as people write them, nothing out of the sandbox, nothing without an end."""

from typing import Any

import pytest

from events.failures import Refused
from handlers.notifications.templates import LONGEST, TemplateFault, compiled, known_locale, render

VARIABLES: dict[str, Any] = {
    "order": {"total_amount": 1234567},
    "customer": {"name": "{{ 7 * 7 }}", "metadata": {"n": 5}},
    "date": "2026-07-01T22:30:00.000Z",
    "currency": "USD",
    "locale": "en_US",
    "zone": "UTC",
}


def rendered(source: str, **variables: Any) -> str:
    return render(source, "text", VARIABLES | variables)


@pytest.mark.parametrize(
    ("currency", "locale", "shown"),
    [
        ("USD", "en_US", "$12,345.67"),
        ("EUR", "de_DE", "12.345,67\xa0€"),
        ("JPY", "ja_JP", "￥1,234,567"),
        ("BHD", "en_US", "BHD1,234.567"),
        ("EUR", "fr_CA", "12\xa0345,67\xa0€"),
        ("XXX", "en_US", "¤12,345.67"),
    ],
)
def test_amounts_are_shown_by_currency_and_locale(currency: str, locale: str, shown: str) -> None:
    assert rendered("{{ order.total_amount | money }}", currency=currency, locale=locale) == shown


@pytest.mark.parametrize("value", ["none", "'12'", "1.5", "true", "missing", "order"])
def test_what_is_no_amount_is_no_text(value: str) -> None:
    assert rendered(f"[{{{{ ({value}) | money }}}}{{{{ ({value}) | number }}}}]") == "[]"


def test_times_are_shown_in_the_persons_zone_and_words() -> None:
    shown = rendered("{{ date | date }}", zone="Europe/Berlin", locale="de_DE")
    assert shown == "02.07.2026, 00:30:00"
    assert rendered("{{ 'soon' | date }}{{ 5 | date }}{{ none | date }}") == ""


def test_what_is_missing_is_no_text() -> None:
    assert rendered("a{{ missing }}{{ customer.none }}{{ customer.none and customer.none.more }}b") == "ab"


def test_a_payloads_text_is_no_template() -> None:
    assert rendered("{{ customer.name }}") == "{{ 7 * 7 }}"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__'] }}",
        "{{ ''|attr('__class__') }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ self._TemplateReference__context }}",
        "{{ customer.update({'name': 'x'}) }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}{{ os }}",
        "{{ lipsum.__globals__ }}",
        "{{ money.__globals__ }}",
    ],
)
def test_nothing_leaves_the_sandbox(source: str) -> None:
    try:
        shown = rendered(source)
    except Refused as refused:
        assert refused.reason == "template_error"
    else:
        assert shown == ""


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(100000) %}{% for b in range(100000) %}more and more{% endfor %}{% endfor %}",
        "{{ 'x' * 300000 }}",
        "{% macro more() %}x{{ more() }}{% endmacro %}{{ more() }}",
        "{{ 1 // 0 }}",
        "{{ missing.more.and.more }}",
        "{{ range(10000000) | list }}",
    ],
)
def test_a_template_that_cannot_be_rendered_is_refused(source: str) -> None:
    with pytest.raises(Refused):
        rendered(source)


def test_a_text_may_be_as_long_as_it_may() -> None:
    assert len(rendered("{{ 'x' * " + str(LONGEST) + " }}")) == LONGEST


@pytest.mark.parametrize("source", ["{{ a", "{% if %}", "{{ a | nobody }}", "{% nothing %}", "{" * 5 + "%"])
def test_a_faulty_source_is_told(source: str) -> None:
    with pytest.raises(TemplateFault):
        compiled(source, "text")


@pytest.mark.parametrize("name", ["", "xx", "en_", "e" * 5000, "../de", "de_DE@euro\n", "\x00"])
def test_what_is_no_locale_is_none(name: str) -> None:
    assert known_locale(name) is None
