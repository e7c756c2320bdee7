"""Channels over HTTP: webhooks signed as Standard Webhooks asks, and Slack's incoming webhooks."""

import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp

from events.failures import Unavailable
from handlers.http import failure_of_answer
from handlers.notifications.credentials import Credentials
from handlers.notifications.message import Message, Rendered
from handlers.notifications.policy import Slack, Webhook
from handlers.notifications.templates import render_json
from handlers.notifications.wording import text_of

LONGEST_ANSWER = 64 * 1024
"""Bytes of an answer that are read, for the sake of using the connection again."""
NOTHING_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


def signature(keys: Sequence[bytes], id: str, timestamp: int, body: bytes) -> str:
    """Standard Webhooks: HMAC-SHA256 over id, timestamp and body, once with each key."""
    signed = f"{id}.{timestamp}.".encode() + body
    digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


class HttpCarrier:
    """Posts JSON to one URL: TLS verified, no redirects, no cookies, no proxy, bounded in time and size."""

    def __init__(self, channel: Webhook | Slack, credentials: Credentials, now: Callable[[], float]) -> None:
        self._channel = channel
        self._credentials = credentials
        self._now = now
        self._tls = ssl.create_default_context(cafile=channel.ca_file)
        self._session: aiohttp.ClientSession | None = None

    def render(self, message: Message) -> Rendered:
        template = message.template
        if isinstance(self._channel, Slack):
            return _rendered({"text": text_of(message, "slack")})
        if template and template.json is not None:
            body = render_json(template.json, message.variables)
            return Rendered({"body": json.loads(body)}, body)
        return _rendered(message.content)

    async def send(self, message: Message, rendered: Rendered) -> None:
        body: bytes = rendered.payload
        timestamp = int(self._now())
        headers = self._headers(message, timestamp, body)
        try:
            async with self._opened().post(
                self._credentials.url, data=body, headers=headers, allow_redirects=False, ssl=self._tls
            ) as answer:
                failure = failure_of_answer(answer.status, answer.headers, self._now())
                await _drain(answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # The class alone: an error's text may quote the URL, and the URL be a secret.
            sent = not isinstance(error, NOTHING_SENT)
            reason = "timed_out" if isinstance(error, TimeoutError) else "no_answer"
            raise Unavailable(reason, f"no answer ({type(error).__name__})", sent=sent) from None
        if failure is not None:
            raise failure

    def _headers(self, message: Message, timestamp: int, body: bytes) -> Mapping[str, str]:
        headers = {
            "content-type": "application/json",
            "user-agent": "redemptions",
            "Idempotency-Key": message.key,
            "webhook-id": message.key,
            "webhook-timestamp": str(timestamp),
        }
        headers |= getattr(self._channel, "headers", {})
        if self._credentials.keys:
            headers["webhook-signature"] = signature(self._credentials.keys, message.key, timestamp, body)
        if self._credentials.authorization is not None:
            headers["authorization"] = self._credentials.authorization
        return headers

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._channel.timeout),
                connector=aiohttp.TCPConnector(limit=0),
                auto_decompress=False,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _rendered(document: dict[str, Any]) -> Rendered:
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Rendered({"body": document}, body.encode())


async def _drain(answer: aiohttp.ClientResponse) -> None:
    """The status is the answer. A body that is long, breaks off or never ends costs its connection alone."""
    size = 0
    try:
        async for chunk in answer.content.iter_chunked(8192):
            size += len(chunk)
            if size > LONGEST_ANSWER:
                break
        else:
            return
    except (aiohttp.ClientError, TimeoutError, OSError):
        pass
    answer.close()
