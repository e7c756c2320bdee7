"""Every setting: its name, type, bounds and default. Frozen once loaded."""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    StringConstraints,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from config.readings import addresses, commas, dsn, lower, readable, upper, web_address
from config.webhook_secrets import parse_webhook_secrets

PREFIX = "REDEMPTIONS_"
RUN_ADMIN_PORT = 8081
WORKER_ADMIN_PORT = 8082

Seconds = Annotated[float, Field(gt=0, le=10 * 365 * 86_400, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65_535)]
"""0 lets the system choose a free one."""
Host = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.:_-]{1,255}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$")]
"""What Kafka takes as a topic's name and a file system as a file's, with room left for a suffix."""
HandlerPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
ReadableFile = Annotated[Path, AfterValidator(readable)]
Network = IPv4Network | IPv6Network
WebhookSecrets = Annotated[Mapping[str, tuple[SecretStr, ...]], BeforeValidator(parse_webhook_secrets)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(commas)]


class Settings(BaseSettings):
    """What the deployment decides. Durations are seconds, sizes bytes. Made by `config.load`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        validate_default=False,
        enable_decoding=False,  # lists are commas, never JSON
        hide_input_in_errors=True,  # a refused DSN must not reach a log
    )

    data_dir: Path = Path(".redemptions")
    webhook_secrets: WebhookSecrets = {}
    """By tenant, in the order given: all of a tenant's secrets are accepted."""

    kafka_bootstrap_servers: Annotated[str, BeforeValidator(addresses)] | None = None
    """None: the embedded log."""
    kafka_security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], BeforeValidator(upper)
    ] = "PLAINTEXT"
    kafka_sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], BeforeValidator(upper)
    ] = "PLAIN"
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_cafile: ReadableFile | None = None
    kafka_ssl_certfile: ReadableFile | None = None
    kafka_ssl_keyfile: ReadableFile | None = None

    database_url: Annotated[SecretStr, BeforeValidator(dsn)] | None = None
    """None: SQLite in the data dir."""

    events_topic: Name = "redemptions.events"
    dead_letters_topic: Name = "redemptions.dead-letters"
    events_partitions: Annotated[int, Field(ge=1, le=10_000)] = 12
    replication_factor: Annotated[int, Field(ge=-1, le=32_767)] = -1
    events_retention: Seconds = 30 * 86_400

    consumer_group: Name = "redemptions"
    instance_id: Name | None = None
    session_timeout: Seconds = 30
    drain_seconds: Seconds = 20
    start_timeout: Seconds = 60

    ingress_host: Host = "127.0.0.1"
    ingress_port: Port = 8080
    admin_host: Host = "127.0.0.1"
    admin_port: Port | None = None
    max_body_bytes: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = 2 * 1024 * 1024
    allowed_networks: Networks = ()
    trusted_proxies: Networks = ()
    rate_limit: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Requests a second."""

    loyalty_policy: ReadableFile | None = None
    notifications_policy: ReadableFile | None = None
    delivery_policy: ReadableFile | None = None
    handlers: Annotated[tuple[HandlerPath, ...], BeforeValidator(commas)] = ()
    guard_in_a_row: Annotated[int, Field(ge=0, le=1_000_000)] = 20
    """So many deaths in a row halt a handler; 0: any number may."""
    guard_window: Annotated[int, Field(ge=0, le=1_000_000)] = 50
    guard_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """More than this share of deaths among the last `guard_window` records halts a handler; a window of 0
    turns that off."""
    log_format: Annotated[Literal["console", "json"], BeforeValidator(lower)] = "console"
    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(lower)] = (
        "info"
    )

    voucherify_base_url: Annotated[str, BeforeValidator(web_address)] | None = None
    voucherify_app_id: str | None = None
    voucherify_app_token: SecretStr | None = None

    _files: Mapping[str, Path] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,
        **named: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # `load` reads the environment it was given: were the process's own read here
        # as well, a test's settings would depend on whoever runs it.
        return (init_settings,)

    @model_validator(mode="after")
    def _fit_together(self) -> "Settings":
        if self.events_topic == self.dead_letters_topic:
            raise ValueError(f"{PREFIX}DEAD_LETTERS_TOPIC must differ from {PREFIX}EVENTS_TOPIC")
        if self.replication_factor == 0:
            raise ValueError(f"{PREFIX}REPLICATION_FACTOR must be 1 or more, or -1 for the broker's own")
        sasl = self.kafka_security_protocol.startswith("SASL")
        credentials = (self.kafka_sasl_username, self.kafka_sasl_password)
        if sasl and None in credentials:
            raise ValueError(
                f"{PREFIX}KAFKA_SECURITY_PROTOCOL {self.kafka_security_protocol} needs "
                f"{PREFIX}KAFKA_SASL_USERNAME and {PREFIX}KAFKA_SASL_PASSWORD"
            )
        if not sasl and any(credentials):
            raise ValueError(
                f"{PREFIX}KAFKA_SECURITY_PROTOCOL is {self.kafka_security_protocol}: it must be SASL_SSL or "
                f"SASL_PLAINTEXT, or {PREFIX}KAFKA_SASL_USERNAME and _PASSWORD would go unused"
            )
        return self

    def read_from(self, files: Mapping[str, Path]) -> "Settings":
        """The same, knowing which secrets came out of a file, and may be read there again."""
        copy = self.model_copy()
        copy._files = files
        return copy

    def file_of(self, name: str) -> Path | None:
        """The file that the secret `name` was read from; None: it was given as text, or not at all."""
        return self._files.get(name)

    def database(self) -> str:
        """The database's URL, credentials included: for the driver only."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir / 'store.db'}"

    def webhook_keys(self) -> dict[str, tuple[str, ...]]:
        """The live webhook secrets by tenant, in clear: for signing and verifying only."""
        return {
            tenant: tuple(secret.get_secret_value() for secret in secrets)
            for tenant, secrets in self.webhook_secrets.items()
        }

    def admin_port_or(self, default: int) -> int:
        """The admin port; unset, it is the command's own (RUN_ADMIN_PORT or WORKER_ADMIN_PORT)."""
        return default if self.admin_port is None else self.admin_port
