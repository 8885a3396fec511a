"""The least that a relay in Python can cost: picows on both sides, no framework, no turn-taking, payloads copied as
they are.

It runs on uvloop with uvloop's transports. asyncio's loop and aiofastnet were tried too, and were no cheaper.
"""

import asyncio
import json

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_connect, ws_create_server

from .wire import RESPONSE_CREATE, SESSION_UPDATE, arguments

PORT, MODEL_URL = arguments()
TEXT, CLOSE = WSMsgType.TEXT, WSMsgType.CLOSE
DELTA = b'{"type":"response.output_audio.delta"'
MEDIA = b'{"event":"media"'


class Twilio(WSListener):
    def __init__(self) -> None:
        self.model: WSTransport | None = None
        self.early: list[bytes] = []
        self.stream_sid = b""
        self.head = b""
        self.connecting: asyncio.Task[None] | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.connecting = asyncio.get_running_loop().create_task(self.connect())

    async def connect(self) -> None:
        self.model, _ = await ws_connect(lambda: Model(self), MODEL_URL, use_aiofastnet=False)
        self.model.send(TEXT, SESSION_UPDATE.encode())
        self.model.send(TEXT, RESPONSE_CREATE.encode())
        for append in self.early:
            self.model.send(TEXT, append)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
            return
        message = frame.get_payload_as_bytes()
        if message.startswith(MEDIA):
            at = message.find(b'"payload":"') + 11
            append = b'{"type":"input_audio_buffer.append","audio":"%b"}' % message[at : message.find(b'"', at)]
            if self.model is not None:
                self.model.send(TEXT, append)
            else:
                self.early.append(append)
        elif message.startswith(b'{"event":"start"'):
            self.stream_sid = json.loads(message)["streamSid"].encode()
            self.head = b'{"event":"media","streamSid":"%b","media":{"payload":"' % self.stream_sid

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self.model is not None:
            self.model.disconnect()


class Model(WSListener):
    def __init__(self, twilio: Twilio) -> None:
        self.twilio = twilio

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        message = frame.get_payload_as_bytes()
        if message.startswith(DELTA):
            at = message.find(b'"delta":"') + 9
            media = self.twilio.head + message[at : message.find(b'"', at)] + b'"}}'
            self.twilio.transport.send(TEXT, media)
        elif b"speech_started" in message:
            clear = b'{"event":"clear","streamSid":"%b"}' % self.twilio.stream_sid
            self.twilio.transport.send(TEXT, clear)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.twilio.transport.disconnect()


async def main() -> None:
    def accept(request: WSUpgradeRequest) -> Twilio:
        return Twilio()

    server = await ws_create_server(accept, "127.0.0.1", PORT, backlog=1024, use_aiofastnet=False)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
