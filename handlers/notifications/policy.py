"""The notifications file as data: channels, rules, templates, and where people's data is found."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from events.event import Kind
from handlers.terms import OnUnknown, RetryTable, Seconds

LARGEST = 2**53
DAY = 86_400.0

Word = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="1 to 64 letters, digits, dots, dashes and underscores"
    ),
]
Label = Annotated[str, Meta(min_length=1, max_length=255)]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,100}$",
        description="1 to 100 characters, no control characters among them",
    ),
]
Path = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00-\x1f]{1,255}$", description="keys with dots between them, such as metadata.locale"
    ),
]
"""Keys with dots between them, such as `metadata.locale`, from a customer, holder or order on."""
Amount = Annotated[int, Meta(ge=0, le=LARGEST)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
Hours = Annotated[
    str,
    Meta(
        pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$",
        description="hours such as 21:00-08:00",
    ),
]
"""Such as `21:00-08:00`: from, until."""
To = Literal["customer", "holder", "staff"]


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all tables have in common."""


class People(Table, frozen=True, kw_only=True):
    """Where a customer's or holder's own preferences are, and what holds for those without."""

    locale: Path | None = None
    zone: Path | None = None
    default_locale: Label = "en_US"
    default_zone: Label = "UTC"


class Money(Table, frozen=True, kw_only=True):
    """The currency of amounts, which no payload tells."""

    currency: Annotated[
        str, Meta(pattern=r"^[A-Z]{3}$", description="a currency's three letters, such as EUR")
    ] = "USD"
    path: Path | None = None
    """Where an order tells its own."""


class Channel(Table, frozen=True, kw_only=True):
    """What all channels may have. Absent: not asked for, no limit."""

    timeout: Annotated[float, Meta(gt=0, le=300)] = 10.0
    """Seconds for one call, from the first byte to the answer."""
    consent: Path | None = None
    cap: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    """Messages to one customer within `cap_seconds`, at most; the others are skipped."""
    cap_seconds: Seconds = 86_400.0
    quiet_hours: Hours | None = None
    """In the person's zone; messages wait until they are over."""


class Webhook(Channel, frozen=True, kw_only=True):
    url: Label | None = None
    url_env: Label | None = None
    url_file: Label | None = None
    secret_env: Label | None = None
    """Where the secret is, `whsec_…`; several with blanks between them while it changes."""
    secret_file: Label | None = None
    authorization_env: Label | None = None
    authorization_file: Label | None = None
    headers: dict[str, str] = {}
    ca_file: Label | None = None
    """Whom to trust instead of the system's authorities."""


class Slack(Channel, frozen=True, kw_only=True):
    url: Label | None = None
    url_env: Label | None = None
    url_file: Label | None = None
    ca_file: Label | None = None
    on_unknown: OnUnknown = "retry"
    """What becomes of a message when nobody knows whether it was taken."""


class Email(Channel, frozen=True, kw_only=True):
    host: Label
    port: Port | None = None
    """By default 587, with `tls` 465, with `none` 25."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: Label | None = None
    password_env: Label | None = None
    password_file: Label | None = None
    ca_file: Label | None = None
    sender: Label
    """The address it is from; it may be `Name <address>`."""
    reply_to: Label | None = None
    unsubscribe: Label | None = None
    """An https: or mailto: link for the List-Unsubscribe header."""
    address: Path = "email"
    staff: tuple[Label, ...] = ()
    on_unknown: OnUnknown = "retry"


class Log(Channel, frozen=True, kw_only=True):
    """A line in the process's own log."""


CHANNELS: dict[str, type[Channel]] = {"webhook": Webhook, "slack": Slack, "email": Email, "log": Log}


class Template(Table, frozen=True, kw_only=True):
    """Jinja2 sources; each kind of channel uses its own keys."""

    subject: str | None = None
    text: str | None = None
    html: str | None = None
    json: str | None = None


class Rule(Table, frozen=True, kw_only=True):
    """One message for each event that meets all conditions given."""

    name: Name
    on: Literal["succeeded", "rolled_back"]
    to: To = "customer"
    channel: str
    template: Word | None = None
    campaigns: tuple[Label, ...] = ()
    """Ids or names."""
    voucher_types: tuple[Label, ...] = ()
    min_discount: Amount | None = None
    """Of the order, in minor units."""
    holder_used: bool = False
    """Only codes that somebody else than their holder has used."""
    first_redemption: bool = False
    settle: Annotated[float, Meta(gt=0, le=7 * 86_400)] | None = None
    """Seconds to wait, from the first event of a stack: then the whole stack is one message."""
    max_age: Seconds | None = None
    """Nothing is said of redemptions that were longer ago, in seconds, when they were told to the worker."""

    @property
    def kind(self) -> Kind:
        return Kind(self.on)

    @property
    def template_name(self) -> str:
        return self.template or self.name

    def oldest(self, channel: Channel) -> float | None:
        """Seconds; None: of any age. A letter to a person is about today, unless the file says otherwise."""
        if self.max_age is None and isinstance(channel, Email) and self.to != "staff":
            return DAY
        return self.max_age


class Policy(Table, frozen=True, kw_only=True):
    """The whole file."""

    retry: RetryTable = RetryTable()
    concurrency: Annotated[int, Meta(ge=1, le=10_000)] = 50
    people: People = People()
    money: Money = Money()
    channels: dict[str, Channel] = {}
    templates: dict[str, Template] = {}
    rules: tuple[Rule, ...] = ()
