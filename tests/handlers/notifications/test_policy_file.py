"""A notifications file is refused with a line for each fault; the least form and the packaged file work."""

import re
from pathlib import Path

import pytest

from handlers.notifications.credentials import credentials_of, unprotected
from handlers.notifications.policy import Policy, Webhook
from handlers.notifications.policy_file import parse_policy, read_policy
from handlers.tables import WrongPolicy
from handlers.terms import Retry

PACKAGED = Path(__file__).parents[3] / "config" / "notifications.toml"
DOCS = PACKAGED.parents[1] / "docs" / "notifications.md"
LEAST = """\
[retry]
attempts = 8          # tries before the dead letter
first = 1.0           # seconds before the second try
factor = 2.0
max = 3600.0          # longest wait, seconds
[channels.crm]
type = "webhook"      # webhook | email | slack | log
url = "https://crm.example/hooks/redemptions"
[[rules]]
name = "redeemed"
on = "succeeded"      # succeeded | rolled_back
to = "customer"       # customer | holder | staff
channel = "crm"
"""
CRM = '[channels.crm]\ntype = "webhook"\nurl = "https://crm.example/"\n'
MAIL = '[channels.mail]\ntype = "email"\nhost = "mx"\nsender = "Shop <shop@example.com>"\n'
RULE = '[[rules]]\nname = "a"\non = "succeeded"\nchannel = "crm"\n'
TO_MAIL = RULE.replace("crm", "mail")


def test_the_least_form_works_as_it_stands() -> None:
    policy = parse_policy(LEAST)
    (rule,) = policy.rules
    assert policy.channels == {"crm": Webhook(url="https://crm.example/hooks/redemptions")}
    assert policy.retry.over(Retry()) == Retry(8, 1.0, 2.0, 3600.0)
    assert (rule.settle, rule.max_age, rule.template_name) == (None, None, "redeemed")
    assert list(unprotected(policy, credentials_of(policy, {}))) == []


def test_the_packaged_file_tells_nobody_anything() -> None:
    policy = read_policy(PACKAGED)
    assert (policy.rules, policy.channels) == ((), {})
    assert policy.retry.over(Retry()) == Retry()


def test_the_examples_of_the_documentation_work() -> None:
    blocks = re.findall("```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks[0].strip() == LEAST.strip()
    policy = parse_policy("\n".join(blocks))
    assert policy.templates.keys() == {"thanks"}


def test_an_empty_file_is_fine() -> None:
    assert parse_policy("") == Policy()


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("chanels = 1", ["chanels: is unknown; did you mean channels?"]),
        ("channels = 1\nrules = 2", ["channels: must be tables", "rules: must be a list of tables"]),
        ("[retry]\nattempts = 0", ["retry.attempts: Expected `int` >= 1"]),
        ("concurrency = 0", ["concurrency: Expected `int` >= 1"]),
        ("[channels.crm]", ["channels.crm.type: is missing; there are webhook, slack, email, log"]),
        (
            '[channels.crm]\ntype = "webhok"',
            ["channels.crm.type: 'webhok' is unknown; did you mean webhook?"],
        ),
        ('[channels."a b"]\ntype = "log"', ["channels.a b: its name must be 1 to 64 letters"]),
        ('[channels.crm]\ntype = "webhook"', ["channels.crm.url: is missing"]),
        (CRM + 'secrt_env = "A"', ["channels.crm.secrt_env: is unknown; did you mean secret_env?"]),
        (CRM + 'url_env = "A"', ["channels.crm.url_env: url is there already"]),
        (CRM + 'secret_env = "A"\nsecret_file = "b"', ["channels.crm.secret_file: secret_env is there"]),
        (CRM + 'headers = { "Webhook-Id" = "x" }', ["channels.crm.headers: Webhook-Id is set by"]),
        (CRM + 'headers = { "a b" = "x" }', ["channels.crm.headers: 'a b' is no header's name"]),
        (CRM + 'headers = { "a" = "x\\ny" }', ["channels.crm.headers: 'a' is no header's name"]),
        (CRM + 'quiet_hours = "21-8"', ["channels.crm.quiet_hours: must be hours such as 21:00-08:00"]),
        (CRM + 'quiet_hours = "08:00-08:00"', ["channels.crm.quiet_hours: begin when they end"]),
        (CRM + "cap = 0\ntimeout = 0", ["channels.crm.timeout: Expected `float`", "channels.crm.cap: Exp"]),
        (CRM + '[[rules]]\nname = "a"', ["rules[1].on: is missing", "rules[1].channel: is missing"]),
        (
            CRM + RULE + 'to = "me"',
            ["rules[1].to: Invalid enum value 'me'; there are customer, ho"],
        ),
        (CRM + RULE + 'on = "x"', ["is no TOML"]),
        (
            CRM + RULE.replace("succeeded", "failed"),
            ["rules[1].on: Invalid enum value 'failed'; there are"],
        ),
        (
            CRM + RULE.replace("crm", "cmr"),
            ["rules[1].channel: there is no [channels.cmr]; did you mean crm?"],
        ),
        (RULE, ["rules[1].channel: there is no [channels.crm]; did you mean to add it?"]),
        (CRM + RULE + RULE, ["rules[2]: rules[1] has the same event, channel and template"]),
        (CRM + RULE + 'template = "x"', ["rules[1].template: there is no [templates.x]"]),
        (
            CRM + RULE + 'template = "x"\n[templates.y]\njson = "1"',
            ["rules[1].template: there is no [templates.x]; did you mean y?"],
        ),
        (CRM + RULE + '[templates.a]\ntext = "x"', ["templates.a: a channel of type webhook needs json"]),
        (MAIL + TO_MAIL + '[templates.a]\nsubject = "x"', ["templates.a: a channel of type email needs sub"]),
        ('[templates.a]\njson = "{{ x"', ["templates.a.json: line 1: unexpected end of template"]),
        (
            '[templates.a]\njson = "{{ x | nothing }}"',
            ["templates.a.json: line 1: No filter named 'nothing'"],
        ),
        (MAIL + TO_MAIL + 'to = "staff"', ["rules[1].to: channels.mail has no addresses under staff"]),
        (MAIL.replace("Shop <shop@example.com>", "shop"), ["channels.mail.sender: is no e-mail address"]),
        (MAIL + 'staff = ["a@b\\nBcc: c@d"]', ["channels.mail.staff: 'a@b\\nBcc: c@d' is no e-mail"]),
        (MAIL + 'unsubscribe = "javascript:1"', ["channels.mail.unsubscribe: must be a link"]),
        (MAIL + 'username = "a"', ["channels.mail.username: is needed with a password"]),
        (
            MAIL + 'username = "a"\npassword_env = "A"\nsecurity = "none"',
            ["channels.mail.security: a password would go unencrypted"],
        ),
        ('[people]\ndefault_zone = "Mars/Olympus"', ["people.default_zone: nobody knows 'Mars/Olympus'"]),
        ('[people]\ndefault_locale = "xx_YY"', ["people.default_locale: nobody knows 'xx_YY'"]),
        (
            '[money]\ncurrency = "dollars"',
            ["money.currency: must be a currency's three letters, such as EUR"],
        ),
    ],
)
def test_each_fault_has_a_line_that_names_its_place(text: str, faults: list[str]) -> None:
    with pytest.raises(WrongPolicy) as wrong:
        parse_policy(text)
    for told, expected in zip(wrong.value.faults, faults, strict=True):
        assert told.startswith(expected)


@pytest.mark.parametrize(
    "url",
    [
        "crm.example",
        "ftp://crm.example/",
        "https://",
        "https://user:password@crm.example/",
        "https://crm.example/a b",
        "https://crm.example/\r\nHost: other",
        "https://crm.example:99999/",
        "https://[::1/",
    ],
)
def test_a_target_that_cannot_be_one_is_refused_and_not_quoted(url: str, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(url, encoding="utf-8")
    policy = parse_policy(f'[channels.crm]\ntype = "slack"\nurl_file = "{tmp_path}/url"\n')
    with pytest.raises(WrongPolicy) as wrong:
        credentials_of(policy, {})
    assert all(fault.startswith("channels.crm.url_file: ") for fault in wrong.value.faults)
    assert "password" not in str(wrong.value).replace("user and password", "")


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://crm.example/", True),
        ("http://127.0.0.1:9000/", True),
        ("https://localhost/", True),
        ("https://10.0.0.1/", True),
        ("https://[::1]/", True),
        ("https://169.254.169.254/", True),
        ("https://crm.example/", False),
        ("https://93.184.215.14/", False),
    ],
)
def test_what_is_unprotected_or_private_works_and_is_named(url: str, warned: bool) -> None:
    policy = parse_policy(f'[channels.crm]\ntype = "webhook"\nurl = "{url}"\n')
    assert bool(list(unprotected(policy, credentials_of(policy, {})))) is warned


@pytest.mark.parametrize(
    "secret", ["", "abc", "whsec_", "whsec_!!!", "whsec_YWJj", "d2hzZWNfYWJjZGVmZ2hpamtsbW5vcA=="]
)
def test_a_secret_that_is_none_is_refused_and_not_quoted(secret: str) -> None:
    policy = parse_policy(CRM + 'secret_env = "CRM_SECRET"')
    with pytest.raises(WrongPolicy) as wrong:
        credentials_of(policy, {"CRM_SECRET": secret})
    (fault,) = wrong.value.faults
    assert fault.startswith("channels.crm.secret_env: ")
    assert secret in ("", "whsec_") or secret not in fault


def test_a_secret_that_is_missing_is_refused() -> None:
    policy = parse_policy(CRM + 'secret_env = "CRM_SECRET"\nauthorization_file = "/nowhere"')
    with pytest.raises(WrongPolicy) as wrong:
        credentials_of(policy, {})
    assert wrong.value.faults == (
        "channels.crm.secret_env: the environment has no CRM_SECRET",
        "channels.crm.authorization_file: /nowhere cannot be read",
    )


def test_credentials_do_not_show_themselves() -> None:
    policy = parse_policy(CRM + 'authorization_env = "TOKEN"')
    assert "hunter2" not in repr(credentials_of(policy, {"TOKEN": "hunter2"}))
