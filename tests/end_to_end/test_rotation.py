"""Secrets are rotated under processes that go on serving."""

import uuid

import httpx
import pytest

from events.signature import sign
from tests.end_to_end.conftest import MakeSite
from tests.end_to_end.postgres import OwnPostgres
from tests.end_to_end.processes import SECRET, Running, Site, until
from tests.events.payloads import CUSTOMER, a_success, body

OLD, NEW = "the-old-webhook-secret", "the-new-webhook-secret"
BODY = b'{"type":"test-send"}'


def answer(site: Site, secret: str, content: bytes = BODY) -> int:
    headers = {"x-voucherify-signature": sign(content, secret)}
    return httpx.post(site.url, content=content, headers=headers, timeout=10, trust_env=False).status_code


def sample(door: Running, line: str) -> bool:
    return f"\n{line}" in door.metrics()


def test_secrets_are_rotated_without_a_restart_and_a_slip_costs_nothing(make_site: MakeSite) -> None:
    site = make_site()
    file = site.directory / "webhook-secrets"
    file.write_text(f"{OLD}\n")
    site.set(webhook_secrets=None, webhook_secrets_file=file)
    assert site.ask("topics", "ensure").code == 0
    door = site.start("ingress").wait_ready()
    assert (answer(site, OLD), answer(site, NEW)) == (202, 401)

    file.write_text(f"{NEW}\n{OLD}\n")
    until(lambda: answer(site, NEW) == 202, "the new secret is accepted")
    assert answer(site, OLD) == 202
    matches = "redemptions_ingress_signature_matches_total"
    assert sample(door, f'{matches}{{slot="0",tenant="default"}} 1.0')
    assert sample(door, f'{matches}{{slot="1",tenant="default"}} 1.0')

    file.write_text("${WEBHOOK_SECRETS}\n")
    until(lambda: sample(door, "redemptions_ingress_secrets_refused 1.0"), "the slip is told")
    assert (answer(site, NEW), answer(site, OLD), door.probe("ready")) == (202, 202, 200)

    file.write_text(f"{NEW}\n")
    until(lambda: answer(site, OLD) == 401, "the old secret is gone")
    assert answer(site, NEW) == 202
    assert sample(door, "redemptions_ingress_secrets_refused 0.0")
    told = door.metrics() + door.err + door.out
    assert OLD not in told and NEW not in told
    assert door.err.count("webhook_secrets_changed") == 2
    assert door.err.count("webhook_secrets_refused") == 1
    assert door.stop() == 0


@pytest.mark.postgres
def test_the_password_of_the_database_is_rotated_without_a_restart(
    make_site: MakeSite, own_postgres: OwnPostgres
) -> None:
    user = f"rotated_{uuid.uuid4().hex[:8]}"
    own_postgres.demand_password(user, "the-old-password")
    own_postgres.run(f"ALTER ROLE {user} SUPERUSER", f"CREATE DATABASE {user}")
    site = make_site()
    file = site.directory / "database-url"
    file.write_text(own_postgres.url(user, user, "the-old-password"))
    site.set(database_url_file=file)
    running = site.start("run").wait_ready()

    own_postgres.run(
        f"ALTER ROLE {user} PASSWORD 'the-new-password'",
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'",  # noqa: S608
    )
    assert answer(site, SECRET, body(a_success())) == 202
    until(lambda: running.probe("ready") == 503, "it says that it is not let in")
    assert running.probe("live") == 200
    file.write_text(own_postgres.url(user, user, "the-new-password"))
    site.wait_idle()
    assert site.told("ledger", "balance", CUSTOMER)["points"] == 103
    running.wait_ready()
    assert "-password" not in running.err + running.out
    assert running.stop() == 0
