"""A relay on FastAPI under uvicorn, written like the samples that most people start from.

Two coroutines per call, JSON both ways, each delta's base64 decoded and encoded again and followed by a mark, truncate
and clear when the caller speaks. It runs on what these samples install (`fastapi_sample.in`), with asyncio's own event
loop. With ``--lean``, it runs on uvloop and sends no marks.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys

import uvicorn
import websockets
from fastapi import FastAPI, WebSocket
from fastapi.websockets import WebSocketDisconnect

from .wire import RESPONSE_CREATE, SESSION_UPDATE, arguments

PORT, MODEL_URL = arguments()
LEAN = "--lean" in sys.argv
app = FastAPI()


@app.websocket("/media-stream")
async def media_stream(websocket: WebSocket) -> None:
    await websocket.accept()
    async with websockets.connect(MODEL_URL) as model:
        await model.send(SESSION_UPDATE)
        await model.send(RESPONSE_CREATE)
        call = Call(websocket, model)
        await asyncio.gather(call.receive_from_twilio(), call.send_to_twilio())


class Call:
    def __init__(self, websocket: WebSocket, model: websockets.ClientConnection) -> None:
        self.websocket = websocket
        self.model = model
        self.stream_sid = ""
        self.item_id: str | None = None
        self.timestamp = 0
        self.response_began: int | None = None
        self.marks: list[str] = []

    async def receive_from_twilio(self) -> None:
        try:
            async for text in self.websocket.iter_text():
                message = json.loads(text)
                if message["event"] == "media" and self.model.state.name == "OPEN":
                    self.timestamp = int(message["media"]["timestamp"])
                    append = {"type": "input_audio_buffer.append", "audio": message["media"]["payload"]}
                    await self.model.send(json.dumps(append))
                elif message["event"] == "start":
                    self.stream_sid = message["start"]["streamSid"]
                elif message["event"] == "mark" and self.marks:
                    self.marks.pop(0)
        except WebSocketDisconnect:
            pass
        await self.model.close()

    async def send_to_twilio(self) -> None:
        async for text in self.model:
            event = json.loads(text)
            if event["type"] == "response.output_audio.delta" and "delta" in event:
                payload = base64.b64encode(base64.b64decode(event["delta"])).decode("ascii")
                media = {"event": "media", "streamSid": self.stream_sid, "media": {"payload": payload}}
                await self.websocket.send_json(media)
                if event["item_id"] != self.item_id:
                    self.item_id, self.response_began = event["item_id"], self.timestamp
                if not LEAN:
                    await self.mark()
            elif event["type"] == "input_audio_buffer.speech_started":
                await self.interrupt()

    async def mark(self) -> None:
        await self.websocket.send_json({"event": "mark", "streamSid": self.stream_sid, "mark": {"name": "part"}})
        self.marks.append("part")

    async def interrupt(self) -> None:
        if self.item_id is None or self.response_began is None:
            return
        truncate = {
            "type": "conversation.item.truncate",
            "item_id": self.item_id,
            "content_index": 0,
            "audio_end_ms": self.timestamp - self.response_began,
        }
        await self.model.send(json.dumps(truncate))
        await self.websocket.send_json({"event": "clear", "streamSid": self.stream_sid})
        self.marks.clear()
        self.item_id = self.response_began = None


if __name__ == "__main__":
    loop = "uvloop" if LEAN else "asyncio"
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", loop=loop)
