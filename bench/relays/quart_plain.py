"""A plain relay on Quart under Hypercorn: two coroutines per call, every message parsed and written with json."""

import asyncio
import json

import websockets
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, websocket

from .wire import RESPONSE_CREATE, SESSION_UPDATE, arguments

PORT, MODEL_URL = arguments()
app = Quart(__name__)


@app.websocket("/media-stream")
async def media_stream() -> None:
    async with websockets.connect(MODEL_URL) as model:
        await model.send(SESSION_UPDATE)
        await model.send(RESPONSE_CREATE)
        call = Call(model)
        to_caller = asyncio.create_task(call.to_caller())
        try:
            await call.to_model()
        finally:
            to_caller.cancel()


class Call:
    def __init__(self, model: websockets.ClientConnection) -> None:
        self.model = model
        self.stream_sid = ""
        self.item_id: str | None = None
        self.timestamp = self.response_began = 0

    async def to_model(self) -> None:
        while True:
            message = json.loads(await websocket.receive())
            if message["event"] == "media":
                self.timestamp = int(message["media"]["timestamp"])
                append = {"type": "input_audio_buffer.append", "audio": message["media"]["payload"]}
                await self.model.send(json.dumps(append))
            elif message["event"] == "start":
                self.stream_sid = message["start"]["streamSid"]
            elif message["event"] == "stop":
                return

    async def to_caller(self) -> None:
        async for text in self.model:
            event = json.loads(text)
            if event["type"] == "response.output_audio.delta":
                if event["item_id"] != self.item_id:
                    self.item_id, self.response_began = event["item_id"], self.timestamp
                media = {"event": "media", "streamSid": self.stream_sid, "media": {"payload": event["delta"]}}
                await websocket.send(json.dumps(media))
            elif event["type"] == "input_audio_buffer.speech_started" and self.item_id is not None:
                await self.interrupt(self.item_id)

    async def interrupt(self, item_id: str) -> None:
        truncate = {
            "type": "conversation.item.truncate",
            "item_id": item_id,
            "content_index": 0,
            "audio_end_ms": self.timestamp - self.response_began,
        }
        await self.model.send(json.dumps(truncate))
        await websocket.send(json.dumps({"event": "clear", "streamSid": self.stream_sid}))
        self.item_id = None


if __name__ == "__main__":
    config = Config()
    config.bind = [f"127.0.0.1:{PORT}"]
    config.accesslog = None
    asyncio.run(serve(app, config))
