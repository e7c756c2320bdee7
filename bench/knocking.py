"""Two ways to load a door: as fast as it answers over so many connections (wrk), or at a fixed rate."""

import asyncio
import hashlib
import hmac
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.cell import Unprepared
from bench.commands import SECRET
from bench.doors import PATH
from bench.events import Events

BODIES = 5_000
"""Different ones, sent in turn."""
CONNECTIONS = 64
SCRIPT = Path(__file__).parent / "knocking.lua"


class Answers(NamedTuple):
    rate: float
    milliseconds: tuple[float, float, float]
    """p50, p99, p99.9."""
    errors: int


def requests(events: Events) -> list[bytes]:
    """Signed deliveries, as they go over the wire."""
    return [request_of(body) for _, body in itertools.islice(events.bodies(), BODIES)]


def request_of(body: bytes) -> bytes:
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"x-voucherify-signature: {signature}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def at_full_speed(port: int, posts: Sequence[bytes], seconds: float, directory: Path) -> Answers:
    """Closed loop: every connection sends its next request when the last is answered. Raises Unprepared."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise Unprepared("no wrk found (it is a package of most distributions)")
    file = directory / "requests"
    file.write_bytes(b"".join(b"%d\n%b" % (len(post), post) for post in posts))
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--latency", "-s", str(SCRIPT)]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, f"http://127.0.0.1:{port}", "--", str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    return Answers(told["rate"], (told["p50"], told["p99"], told["p999"]), told["errors"])


async def at_rate(port: int, posts: Sequence[bytes], rate: float, seconds: float) -> Answers:
    """Open loop: a request is due every 1/rate seconds whether or not earlier ones are answered, and its time
    counts from when it was due. What nobody is free to send waits, and its waiting counts."""
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    loop, due = asyncio.get_running_loop(), itertools.count()
    taken: list[float] = []
    failed = 0
    begin, count = loop.time() + 0.1, max(1, round(rate * seconds))

    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal failed
        while (number := next(due)) < count:
            at = begin + number / rate
            await asyncio.sleep(at - loop.time())
            writer.write(posts[number % len(posts)])
            if await _status(reader) != 202:
                failed += 1
            taken.append(loop.time() - at)

    try:
        await asyncio.gather(*(send(*each) for each in connections))
    finally:
        for _, writer in connections:
            writer.close()
    taken.sort()
    p50, p99, p999 = (
        taken[min(len(taken) - 1, int(len(taken) * share))] * 1e3 for share in (0.5, 0.99, 0.999)
    )
    return Answers(count / (loop.time() - begin), (p50, p99, p999), failed)


async def _status(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
    return int(head.split()[1])


async def opened(port: int, seconds: float = 60.0) -> None:
    """Wait until somebody listens. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > end:
                raise TimeoutError(f"nobody listens on {port}") from None
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
