"""WebSockets with FastAPI in front of the same Redis channels: a pub/sub connection for each WebSocket."""

import asyncio
import contextlib
import os

import jwt
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from redis.asyncio import Redis

SECRET = os.environ["JWT_SECRET"]

app = FastAPI()
# A connection for each WebSocket: the pool's bound is above the load's.
redis = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True, max_connections=20_000)


@app.get("/healthz")
async def health() -> dict[str, str]:
    return {"status": "healthy"}


@app.websocket("/ws")
async def connect(websocket: WebSocket, token: str | None = None) -> None:
    token = token or websocket.headers.get("authorization", "").removeprefix("Bearer ")
    try:
        user = jwt.decode(token, SECRET, algorithms=["HS256"])["sub"]
    except jwt.InvalidTokenError:
        await websocket.close(code=1008)
        return
    pubsub = redis.pubsub()
    await pubsub.subscribe(f"ws:{user}")
    await websocket.accept()
    forwarding = asyncio.create_task(forward(pubsub, websocket))
    try:
        while True:
            await websocket.send_text("Echo: " + await websocket.receive_text())
    except WebSocketDisconnect:
        pass
    finally:
        forwarding.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await forwarding
        await pubsub.aclose()


async def forward(pubsub, websocket: WebSocket) -> None:
    async for message in pubsub.listen():
        if message["type"] == "message":
            await websocket.send_text(message["data"])
