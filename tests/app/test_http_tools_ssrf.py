"""Whatever a tool's URL, DNS or its server says, no request is sent to a private address."""

from __future__ import annotations

import io
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from callgate.core.gate.egress import Egress
from callgate.errors import ToolError
from callgate.network.guarded_connection import Guard
from callgate.tools.http_tools import HttpTools
from support.tool_server import HOST, FakeDns, ToolServer, tool_server

PRIVATE = "its server has a private address (HTTP_TOOLS_ALLOW lists those that may be asked)"
BAD_URL = "its url is not one that can be requested"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ToolServer]:
    """Run a server on loopback that would answer, although nothing is allowed."""
    async with tool_server(tmp_path) as server:
        yield server
        assert server.connections == 0, "it was reached"
        assert server.asked == []


async def refusal(server: ToolServer, url: str, dns: FakeDns | None = None) -> str:
    with pytest.raises(ToolError) as caught:
        await server.tools(dns, allow="").run(server.tool(url=url.replace("PORT", str(server.port))), {})
    return str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254",
        "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[fe80::1]", "[fe80::1%251]",
        "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]",
    ],
)  # fmt: skip
async def test_a_private_address_in_the_url_is_refused(server, host):
    assert await refusal(server, f"https://{host}:PORT/echo") == PRIVATE


@pytest.mark.parametrize(
    "host",
    ["2130706433", "017700000001", "127.1", "0177.0.0.1", "127.0.0.01", "0", "0x7f.0.0.1", "0x7f000001", "①②⑦.⓪.⓪.①"],
)
async def test_an_address_in_another_spelling_is_refused(server, host):
    dns = FakeDns(["127.0.0.1"])  # what the system's resolver returns for the hexadecimal names
    assert await refusal(server, f"https://{host}:PORT/echo", dns) in (PRIVATE, BAD_URL)


@pytest.mark.parametrize("name", ["localhost", "LocalHost"])
async def test_the_systems_own_name_for_this_machine_is_refused(server, name):
    with pytest.raises(ToolError, match="private address"):
        await HttpTools().run(server.tool(url=f"https://{name}:{server.port}/echo"), {})


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["::1"],
        ["169.254.169.254"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["fe80::1%lo"],
        ["8.8.8.8", "127.0.0.1"],
        ["127.0.0.1", "2606:4700::1111"],
    ],
)
async def test_a_name_of_which_any_address_is_private_is_refused(server, addresses):
    assert await refusal(server, f"https://{HOST}:PORT/echo", FakeDns(addresses)) == PRIVATE


async def test_a_name_is_looked_up_once_for_each_request_so_that_a_second_answer_leads_nowhere(server):
    """The first address is allowed, and the connection goes there, where nothing listens. No second look-up is made;
    the next request gets the second address and is refused."""
    dns = FakeDns(["127.7.7.7"], ["127.0.0.1"])
    tools, tool = server.tools(dns, allow="127.7.7.7/32"), server.tool()
    with pytest.raises(ToolError, match="can't be reached"):
        await tools.run(tool, {})
    assert dns.asked == [HOST]
    with pytest.raises(ToolError, match="private address"):
        await tools.run(tool, {})
    assert dns.asked == [HOST, HOST]


async def test_a_resolver_that_answers_with_a_name_is_not_believed(server):
    """Connections are made to numeric addresses only, so that the system does no second look-up."""
    assert await refusal(server, f"https://{HOST}:PORT/echo", FakeDns(["localhost"])) == PRIVATE


@pytest.mark.parametrize("addresses", [["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"]])
async def test_not_even_the_public_one_of_several_addresses_is_tried(addresses):
    guard = Guard(HOST, 443, Egress(), FakeDns(addresses))
    with pytest.raises(PermissionError):
        await guard.resolve(HOST, 443)


@pytest.mark.parametrize("address", [("127.0.0.1", 443), ("localhost", 443), ("2130706433", 443)])
async def test_no_socket_is_made_for_an_address_that_was_not_checked(address):
    guard = Guard(HOST, 443, Egress(), FakeDns(["8.8.8.8"]))
    await guard.resolve(HOST, 443)
    with pytest.raises(PermissionError):
        guard.open_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", address))


async def test_a_host_that_is_allowed_is_so_on_its_port_only(server):
    tools = server.tools(FakeDns(), allow=f"{HOST}:443,other.example.test:{server.port}")
    with pytest.raises(ToolError, match="private address"):
        await tools.run(server.tool(), {})


async def test_each_refusal_is_in_the_log_with_what_would_allow_it(server, log: io.StringIO):
    await refusal(server, "https://127.0.0.1:PORT/echo")
    assert "WARNING - HTTP tool look_up: its server has a private address (HTTP_TOOLS_ALLOW" in log.getvalue()


async def test_a_redirect_is_not_followed_wherever_it_leads(tmp_path):
    async with tool_server(tmp_path) as server:
        with pytest.raises(ToolError, match=r"redirect \(302\), which is not followed"):
            await server.tools().run(server.tool("/moved", method="GET"), {})
        assert [asked.path for asked in server.asked] == ["/moved"]
        assert server.connections == 1
