"""Channels by e-mail: SMTP with STARTTLS or TLS, one message to one person, no header out of a payload."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from hashlib import sha256

import aiosmtplib

from events.failures import Refused, Unavailable
from handlers.loyalty.readings import UNPRINTABLE
from handlers.notifications.addresses import addressee, fit_address, parsed_address
from handlers.notifications.credentials import Credentials
from handlers.notifications.message import Message, Rendered, Skip
from handlers.notifications.people import found
from handlers.notifications.policy import Email
from handlers.notifications.templates import render
from handlers.notifications.wording import subject_of, text_of

PORTS = {"starttls": 587, "tls": 465, "none": 25}
PERMANENT = 500
BEFORE_ANY_MESSAGE = (
    aiosmtplib.SMTPConnectResponseError,
    aiosmtplib.SMTPHeloError,
    aiosmtplib.SMTPAuthenticationError,
)


class MailCarrier:
    """Hands messages to one SMTP server."""

    def __init__(self, channel: Email, credentials: Credentials, now: Callable[[], float]) -> None:
        self._channel = channel
        self._credentials = credentials
        self._now = now
        self._tls = ssl.create_default_context(cafile=channel.ca_file)
        sender = parsed_address(channel.sender)
        assert sender is not None  # the file was checked
        self._sender = sender

    def render(self, message: Message) -> Rendered:
        to = self._addressees(message)
        template = message.template
        html = None
        if template is not None and template.html is not None:
            html = render(template.html, "html", message.variables)
        text = text_of(message, "text") if html is None or (template and template.text is not None) else None
        subject = subject_of(message)
        shown = {"to": [each.addr_spec for each in to], "subject": subject, "text": text, "html": html}
        return Rendered({key: value for key, value in shown.items() if value is not None}, shown | {"to": to})

    def _addressees(self, message: Message) -> list[Address]:
        if message.rule.to == "staff":
            return [addressee(None, address) for address in self._channel.staff]
        value = found(message.person.fields, self._channel.address)
        if not value:
            raise Skip("no_address")
        address = fit_address(value)
        if address is None:
            raise Skip("unfit_address")
        name = message.variables["person"]["name"]
        return [addressee(name, address)]

    def _mail(self, message: Message, rendered: Rendered) -> EmailMessage:
        parts, domain = rendered.payload, self._sender.domain
        mail = EmailMessage(policy=SMTP)
        mail["From"] = self._sender
        mail["To"] = parts["to"]
        mail["Subject"] = parts["subject"]
        mail["Date"] = format_datetime(datetime.fromtimestamp(self._now(), UTC))
        # The same for each try: a mailbox that gets the message twice can tell.
        mail["Message-ID"] = f"<{sha256(message.key.encode()).hexdigest()[:40]}@{domain}>"
        mail["Idempotency-Key"] = message.key
        mail["webhook-id"] = message.key
        mail["Auto-Submitted"] = "auto-generated"
        if self._channel.reply_to is not None:
            mail["Reply-To"] = self._channel.reply_to
        if self._channel.unsubscribe is not None:
            mail["List-Unsubscribe"] = f"<{self._channel.unsubscribe}>"
        bodies = [
            (parts[kind], subtype) for kind, subtype in (("text", "plain"), ("html", "html")) if parts[kind]
        ]
        mail.set_content(_printable(bodies[0][0]), subtype=bodies[0][1]) if bodies else mail.set_content("")
        for body, subtype in bodies[1:]:
            mail.add_alternative(_printable(body), subtype=subtype)
        return mail

    async def send(self, message: Message, rendered: Rendered) -> None:
        content = self._mail(message, rendered).as_bytes()
        addresses = [each.addr_spec for each in rendered.payload["to"]]
        smtp = self._client()
        sent = False
        try:
            await smtp.connect()
            if self._channel.username is not None and self._credentials.password is not None:
                await smtp.login(self._channel.username, self._credentials.password)
            await smtp.mail(self._sender.addr_spec)
            for address in addresses:
                await smtp.rcpt(address)
            sent = True
            await smtp.data(content)
        except BEFORE_ANY_MESSAGE as error:
            # No word on this message: it waits until somebody mends the server or the password.
            raise Unavailable(
                f"smtp_{error.code}", f"the mail server lets nobody in ({error.code})"
            ) from None
        except aiosmtplib.SMTPResponseException as error:
            raise _failure(error) from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise Unavailable("no_answer", f"no answer ({type(error).__name__})", sent=sent) from None
        finally:
            smtp.close()

    def _client(self) -> aiosmtplib.SMTP:
        security = self._channel.security
        return aiosmtplib.SMTP(
            hostname=self._channel.host,
            port=self._channel.port or PORTS[security],
            timeout=self._channel.timeout,
            use_tls=security == "tls",
            start_tls=security == "starttls",
            tls_context=self._tls if security != "none" else None,
        )

    async def close(self) -> None:
        """Nothing: no connection outlives its message."""


def _failure(error: aiosmtplib.SMTPResponseException) -> Exception:
    # The server's own words may quote the address.
    told = f"the mail server answered {error.code}"
    if error.code >= PERMANENT:
        return Refused(f"smtp_{error.code}", told, answered=True)
    return Unavailable(f"smtp_{error.code}", told)


def _printable(text: str) -> str:
    return "\n".join(UNPRINTABLE.sub(" ", line) for line in text.splitlines()) + "\n"
