"""What notifications go to: two HTTP servers and a mail server, in a thread of this process."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from queue import Queue
from threading import Thread
from typing import NamedTuple

from tests.handlers.notifications.postmaster import Postmaster, mail, served
from tests.handlers.notifications.receiver import Receiver, receiving

RETRY = "concurrency = 1\n[retry]\nattempts = 1000\nfirst = 0.05\nfactor = 1.5\nmax = 0.3\n"
RULES = """
[[rules]]
name = "redeemed"
on = "succeeded"
channel = "crm"
[[rules]]
name = "undone"
on = "rolled_back"
channel = "crm"
[[rules]]
name = "thanks"
on = "succeeded"
channel = "mail"
max_age = 3e8
[[rules]]
name = "large"
on = "succeeded"
to = "staff"
channel = "staff"
"""


class Channels(NamedTuple):
    crm: Receiver
    staff: Receiver
    mail: Postmaster
    mail_port: int

    @property
    def policy(self) -> str:
        """A notifications file that uses all three, one effect at a time."""
        crm = f'[channels.crm]\ntype = "webhook"\nurl = "{self.crm.url}"\ntimeout = 1\n'
        staff = f'[channels.staff]\ntype = "slack"\nurl = "{self.staff.url}"\ntimeout = 1\n'
        return RETRY + crm + staff + mail(self.mail_port) + RULES


@asynccontextmanager
async def _open() -> AsyncIterator[Channels]:
    postmaster = Postmaster()
    async with receiving() as crm, receiving() as staff, served(postmaster) as port:
        yield Channels(crm, staff, postmaster, port)


@contextmanager
def channels() -> Iterator[Channels]:
    """All of them, until the end; what they were told may be read at any time."""
    opened: Queue[Channels] = Queue()
    over = asyncio.Event()

    async def serve() -> None:
        async with _open() as channels:
            opened.put(channels)
            await over.wait()

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        thread = Thread(target=lambda: runner.run(serve()))
        thread.start()
        try:
            yield opened.get(timeout=10)
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join()
