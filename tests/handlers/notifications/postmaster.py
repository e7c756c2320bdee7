"""A real SMTP server on this machine: it answers each message as a test asks for."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session


class Postmaster:
    """Takes mail; `answers` are what it says to the next messages, `rcpt` to the next recipients.

    `break`: taken, but the answer never comes and the connection breaks.
    """

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self.recipients: list[list[str]] = []
        self.answers: list[str] = []
        self.rcpt: list[str] = []
        self.encrypted: list[bool] = []
        self.lost = 0

    @property
    def taken(self) -> list[str]:
        """Keys, once for each mail that was taken."""
        return [mail["idempotency-key"] for mail in self.mails]

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.rcpt:
            return self.rcpt.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = self.answers.pop(0) if self.answers else "250 OK"
        if answer == "break":
            assert server.transport is not None
            server.transport.abort()
            self.lost += 1
        if answer.startswith("250") or answer == "break":
            content = envelope.content
            assert isinstance(content, bytes)
            self.raw.append(content)
            mail = message_from_bytes(content, policy=policy.default)
            assert isinstance(mail, EmailMessage)
            self.mails.append(mail)
            self.recipients.append(envelope.rcpt_tos)
            self.encrypted.append(session.ssl is not None or server._over_ssl)
        return answer


@asynccontextmanager
async def served(
    postmaster: Postmaster, over_tls: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[int]:
    """The port of a server in this loop: aiosmtpd's own Controller takes no free one."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(postmaster, hostname="localhost", loop=loop, **options), "localhost", 0, ssl=over_tls
    )
    async with server:
        yield server.sockets[0].getsockname()[1]
        server.close()


def mail(port: int, security: str = "none", more: str = "") -> str:
    return (
        f'[channels.mail]\ntype = "email"\nhost = "localhost"\nport = {port}\n'
        f'security = "{security}"\nsender = "Shop <shop@example.com>"\ntimeout = 5\n{more}\n'
    )
