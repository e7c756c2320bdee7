"""The endpoint that tutorials write: FastAPI, aiokafka with its defaults. `… BOOTSTRAP TOPIC PORT`.

It checks the signature as ours does, and appends with acks=all, as anything less is no comparison.
"""

import hashlib
import hmac
import sys
from contextlib import asynccontextmanager

import uvicorn
from aiokafka import AIOKafkaProducer
from fastapi import FastAPI, HTTPException, Request

from bench.commands import SECRET

bootstrap, topic, port = sys.argv[1:]
producer: AIOKafkaProducer


@asynccontextmanager
async def lifespan(app: FastAPI):
    global producer
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/webhooks/voucherify", status_code=202)
async def receive(request: Request) -> dict[str, str]:
    body = await request.body()
    expected = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, request.headers.get("x-voucherify-signature", "")):
        raise HTTPException(401)
    event = await request.json()
    await producer.send_and_wait(topic, body, key=event["customer"]["id"].encode())
    return {"status": "accepted"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", access_log=False)
