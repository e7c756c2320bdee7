"""Secrets, e-mails, names and numbers are planted wherever they can come from; then every log line, metric,
answer, dead-letter header and command that is not there to show bodies is searched for them."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from events.signature import sign
from tests.end_to_end.postgres import OwnPostgres
from tests.end_to_end.processes import SECRET, Site, until
from tests.end_to_end.spilling import REFUSED, SPILLED
from tests.end_to_end.traffic import sale
from tests.events.payloads import body, project

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(240)]

E_MAIL, NAME, PHONE = "planted.person@leak.example", "Planted Personsson", "+48555123456"
SECRETS = {
    "webhook secret": SECRET,
    "database password": "planted-database-password",
    "Voucherify token": "planted-voucherify-token",
    "Authorization": "planted-bearer-token",
    "signature": "5ec2e7" * 10 + "abcd",
}
PLANTED = {"e-mail": E_MAIL, "name": NAME, "phone": PHONE} | SECRETS


def person(redemption: str, customer: str = "cust_planted", **changes: Any) -> dict[str, Any]:
    """A sale to somebody of whom everything is told, in every place that has room for it."""
    content = sale(redemption, customer)
    about = {"email": E_MAIL, "name": NAME, "phone": PHONE, "metadata": {"contact": E_MAIL, NAME: PHONE}}
    for told in (content["customer"], content["redemption"]["customer"]):
        told |= about
    content["redemption"]["metadata"] = {"note": f"{NAME} {E_MAIL}"}
    return content | changes


def bodies() -> Iterator[bytes]:
    yield body(person("r_planted_1"))
    yield body(project(person("r_planted_1"), "redemption.succeeded"))
    yield body(person("r_planted_2", SPILLED))
    yield body(person("r_planted_3", REFUSED))
    yield f'{{"customer": {{"email": "{E_MAIL}", "name": "{NAME}", torn'.encode()
    yield f'{{"phone": "{PHONE}", "n": {"9" * 5000}, "{NAME}": nul}}'.encode()
    yield body(project(person("r_planted_4"), f"{E_MAIL}"))
    yield body(project({"name": NAME, "email": E_MAIL}, "customer.redemption.succeeded"))
    unfit = person("r_planted_7")
    unfit["redemption"]["id"] = f"r_{E_MAIL}\x00{NAME}"
    yield body(unfit)
    yield body(person("r_planted_5") | {E_MAIL: NAME, "phone": PHONE})
    unknown = person("r_planted_6")
    unknown["redemption"] |= {"status": NAME, "result": E_MAIL, NAME: 1}
    yield body(unknown)
    yield body([NAME, {"email": E_MAIL}])
    yield body(person("r_planted_1") | {"order": {"id": NAME, "total_amount": E_MAIL}})


def sent(site: Site) -> str:
    """Send them all, and what is refused as well; everything that was answered."""
    told = []
    headers = {
        "authorization": f"Bearer {SECRETS['Authorization']}",
        "cookie": f"session={SECRETS['Authorization']}",
        "x-request-id": f"{NAME} {E_MAIL}",
        "traceparent": E_MAIL,
        "user-agent": f"{NAME}/{PHONE}",
    }
    with httpx.Client(trust_env=False, timeout=10, headers=headers) as client:
        for content in bodies():
            answer = client.post(
                site.url, content=content, headers={"x-voucherify-signature": sign(content, SECRET)}
            )
            assert answer.status_code == 202, content
            told += [answer.text, str(answer.headers)]
        for path in ("", f"/{NAME}", f"?email={E_MAIL}"):
            answer = client.post(
                site.url + path, content=E_MAIL, headers={"x-voucherify-signature": SECRETS["signature"]}
            )
            assert answer.status_code in (401, 404)
            told += [answer.text, str(answer.headers)]
    return "\n".join(told)


async def dead_letter_headers(site: Site) -> list[tuple[Any, ...]]:
    topic = site.setting("dead_letters_topic")
    consumer = AIOKafkaConsumer(
        bootstrap_servers=site.setting("kafka_bootstrap_servers"), auto_offset_reset="earliest"
    )
    await consumer.start()
    places = [TopicPartition(topic, number) for number in range(6)]
    consumer.assign(places)
    ends = await consumer.end_offsets(places)
    found: list[tuple[Any, ...]] = []
    while len(found) < sum(ends.values()):
        for records in (await consumer.getmany(timeout_ms=500)).values():
            found += [(record.key, *record.headers) for record in records]
    await consumer.stop()
    return found


COMMANDS = [
    ("status",),
    ("doctor",),
    ("config", "show"),
    ("handlers", "list"),
    ("dead-letters", "list"),
    ("dead-letters", "list", "--json"),
    ("dead-letters", "stats"),
    ("jobs", "list"),
    ("audit", "list"),
    ("contract", "drift"),
    ("contract", "drift", "--json"),
    ("ledger", "totals"),
    ("ledger", "entries"),
    ("ledger", "verify"),
    ("ledger", "balance", "cust_planted"),
    ("effects", "show", "r_planted_2"),
    ("effects", "show", "r_planted_3"),
    ("effects", "show", "r_planted_3", "--json"),
]


def test_what_is_planted_is_found_nowhere_but_in_the_bodies(cluster: Site, own_postgres: OwnPostgres) -> None:
    password = SECRETS["database password"]
    own_postgres.demand_password("leaky", password)
    own_postgres.run("ALTER ROLE leaky SUPERUSER")
    cluster.set(
        database_url=own_postgres.url(cluster.setting("consumer_group"), "leaky", password),
        voucherify_app_token=SECRETS["Voucherify token"],
        voucherify_app_id="an-app",
        handlers="tests.end_to_end.spilling:Spilling",
        log_level="debug",
        log_format="json",
    )
    running = [cluster.start("ingress").wait_ready(), cluster.start("worker").wait_ready()]
    answers = sent(cluster)
    own_postgres.stop()
    until(lambda: running[1].probe("ready") == 503, "the worker waits for its database")
    answers += sent(cluster)
    own_postgres.start()
    cluster.wait_idle()

    told = {"answers": answers, "metrics": cluster.metrics()}
    headers = asyncio.run(dead_letter_headers(cluster))
    assert len(headers) >= 8, "too few letters to prove anything"
    told["dead-letter headers"] = repr(headers)
    for command in COMMANDS:
        answer = cluster.ask(*command)
        assert answer.code in (0, 1), (command, answer)
        told[" ".join(command)] = answer.out + answer.err
    letters = json.loads(told["dead-letters list --json"])
    assert {"handler_error", "no_account"} <= {letter["reason"] for letter in letters}
    wrong = cluster.ask_with(
        {"database_url": f"mysql://u:{password}@h/d", "kafka_sasl_password": SECRET}, "status"
    )
    told["wrong settings"] = wrong.out + wrong.err
    for each in running:
        assert each.stop() == 0
        told[f"log of {each.pid}"] = each.out + each.err
    assert '"level": "warning"' in told[f"log of {running[1].pid}"]

    escaped = {what: json.dumps(text)[1:-1] for what, text in PLANTED.items()}
    leaks = [
        (where, what)
        for where, text in told.items()
        for what, plain in PLANTED.items()
        if plain in text or escaped[what] in text
    ]
    assert leaks == []
