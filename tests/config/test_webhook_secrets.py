"""WEBHOOK_SECRETS: which entries name a tenant, and which secrets are refused."""

import pytest

from config.load import WrongSettings, load


def keys(text: str) -> dict[str, tuple[str, ...]]:
    return load({"REDEMPTIONS_WEBHOOK_SECRETS": text}).webhook_keys()


def test_a_bare_entry_belongs_to_the_default_tenant() -> None:
    assert keys("secretKey") == {"default": ("secretKey",)}


def test_several_secrets_of_a_tenant_keep_their_order() -> None:
    assert keys("secret-new, acme=acme-new1 ,secret-old,acme=acme-old1") == {
        "default": ("secret-new", "secret-old"),
        "acme": ("acme-new1", "acme-old1"),
    }


def test_a_secret_given_twice_counts_once() -> None:
    assert keys("secretKey,secretKey,default=secretKey") == {"default": ("secretKey",)}


@pytest.mark.parametrize(
    "secret", ["c2VjcmV0S2V5IQ==", "c2vjcmv0a2v5iq==", "abcd1234abc=", "Xy=secret-part", "==secret=="]
)
def test_base64_is_not_taken_for_a_tenant(secret: str) -> None:
    assert keys(secret) == {"default": (secret,)}


def test_a_secret_with_its_padding_may_follow_a_tenant() -> None:
    assert keys("acme=c2VjcmV0S2V5IQ==") == {"acme": ("c2VjcmV0S2V5IQ==",)}
    assert keys("default=abc=defghi") == {"default": ("abc=defghi",)}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("secretKey,,secretKey2", "entry 2 is empty"),
        ("acme-shop=", "entry 1 is empty"),
        ("secretKey,short12", "entry 2 is shorter than 8 bytes"),
        ("acme=short12", "entry 1 is shorter"),
        ("${WEBHOOK_SECRET}", "placeholder"),
        ("acme=${WEBHOOK_SECRET}", "placeholder"),
        ("<your-secret-here>", "placeholder"),
        ("secret\x07Key", "control characters"),
    ],
)
def test_an_unfit_secret_is_refused_by_its_place(text: str, reason: str) -> None:
    with pytest.raises(WrongSettings, match=f"REDEMPTIONS_WEBHOOK_SECRETS: .*{reason}") as wrong:
        keys(text)
    assert text not in str(wrong.value)
