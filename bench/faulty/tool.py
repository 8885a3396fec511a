"""The tool that the agent of the measured calls uses, on a server of its owner's."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Generator
from dataclasses import replace
from pathlib import Path

from support.tool_server import tool_server

from .place import Tls
from .scene import TOOL

AGENTS = """
[default]
tools = ["hang_up"]

[[default.http]]
name = "{tool}"
description = "Where a parcel is."
url = "https://localhost:{port}/echo"
"""
TRUSTED = "SSL_CERT_FILE"


@contextlib.asynccontextmanager
async def tool(tls: Tls) -> AsyncIterator[Tls]:
    """Serve the tool. Yield ``tls`` with the settings that give it to a service's agent."""
    with tempfile.TemporaryDirectory() as directory:
        async with tool_server(Path(directory), name="localhost") as server:
            agents = Path(directory) / "agents.toml"
            agents.write_text(AGENTS.format(tool=TOOL, port=server.port))
            settings = {"AGENTS_FILE": str(agents), "HTTP_TOOLS_ALLOW": f"localhost:{server.port}"}
            with _trusting(server.certificates.ca):
                yield replace(tls, settings={**tls.settings, **settings})


@contextlib.contextmanager
def _trusting(ca: Path) -> Generator[None]:
    before = os.environ.get(TRUSTED)
    os.environ[TRUSTED] = str(ca)
    try:
        yield
    finally:
        if before is None:
            del os.environ[TRUSTED]
        else:
            os.environ[TRUSTED] = before
