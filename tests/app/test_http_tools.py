"""An owner's tool is called, and whatever its server does, the call gets a result to go on with."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlencode

import pytest
from callgate.core.tools.toolbox import HttpTool
from callgate.errors import ToolError
from callgate.tools import http_tools
from callgate.tools.http_tools import ANSWER_LIMIT, ARGUMENTS_LIMIT, check_http_tool
from support.tool_server import FLOODS, HOST, FakeDns, ToolServer, tool_server

SECRET = "sk-the-owners-secret"
ORDER = {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ToolServer]:
    async with tool_server(tmp_path) as server:
        yield server


async def failure(server: ToolServer, tool: HttpTool, **arguments: object) -> str:
    with pytest.raises(ToolError) as caught:
        await server.tools().run(tool, arguments)
    return str(caught.value)


class TestRequest:
    async def test_arguments_are_the_body_as_json(self, server):
        tool = server.tool(parameters=ORDER, headers={"Authorization": f"Bearer {SECRET}"})
        answer = await server.tools().run(tool, {"order": "Straße 7"})
        (asked,) = server.asked
        assert json.loads(answer) == {"found": "three parcels"}
        assert (asked.method, json.loads(asked.body)) == ("POST", {"order": "Straße 7"})
        assert asked.headers["Content-Type"] == "application/json"
        assert asked.headers["Authorization"] == f"Bearer {SECRET}"
        assert asked.headers["Host"] == f"{HOST}:{server.port}"

    async def test_with_get_they_are_the_query_beside_what_is_fixed(self, server):
        arguments = {"q": "a&b=c", "many": [1, 2.5], "yes": True, "none": None, "tree": {"x": 1}}
        await server.tools().run(server.tool("/echo?version=2", method="GET"), arguments)
        (asked,) = server.asked
        assert (asked.method, asked.body) == ("GET", "")
        assert asked.query == [
            ("version", "2"), ("q", "a&b=c"), ("many", "1"), ("many", "2.5"), ("yes", "true"), ("tree", '{"x": 1}'),
        ]  # fmt: skip

    async def test_an_argument_replaces_nothing_that_the_owner_fixed(self, server):
        tool = server.tool("/echo?account=7", method="GET")
        assert "fixed" in await failure(server, tool, account="8")
        assert server.connections == 0

    @pytest.mark.parametrize("arguments", [{"url": "https://127.0.0.1/"}, {"host": "127.0.0.1"}, {"#": "@evil.test"}])
    async def test_no_argument_changes_who_is_asked(self, server, arguments):
        dns = FakeDns()
        await server.tools(dns).run(server.tool(method="GET"), arguments)
        assert dns.asked == [HOST]
        assert server.asked[0].headers["Host"] == f"{HOST}:{server.port}"

    async def test_arguments_that_do_not_fit_are_not_sent(self, server):
        assert await failure(server, server.tool(parameters=ORDER)) == "'order' is a required property"
        assert (
            await failure(server, server.tool(), x=float("nan")) == "the arguments hold a value that JSON does not have"
        )
        assert "longer than 16 kB" in await failure(server, server.tool(), x="x" * ARGUMENTS_LIMIT)
        assert server.connections == 0

    async def test_arguments_that_are_too_long_are_not_even_checked(self, server, monkeypatch):
        monkeypatch.setattr(http_tools, "misfit", None)
        said = await failure(server, server.tool(parameters=ORDER), order="x" * ARGUMENTS_LIMIT)
        assert said == "the arguments are longer than 16 kB"

    async def test_each_request_has_a_connection_and_cookies_of_its_own(self, server):
        tools = server.tools()
        for _ in range(3):
            assert "Cookie" not in await tools.run(server.tool("/headers"), {})
        assert server.connections == 3
        assert {asked.headers["Connection"] for asked in server.asked} == {"close"}

    async def test_two_are_run_at_once(self, server):
        tools = server.tools()
        answers = await asyncio.gather(tools.run(server.tool("/together"), {}), tools.run(server.tool("/together"), {}))
        assert answers == ["both are here", "both are here"]

    async def test_a_proxy_of_the_environment_is_not_asked(self, server, monkeypatch):
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        assert "three parcels" in await server.tools().run(server.tool(), {})

    async def test_a_call_that_ends_gives_its_request_up(self, server):
        asking = asyncio.create_task(server.tools().run(server.tool("/slow"), {}))
        await server.arrived.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


class TestAnswer:
    async def test_one_without_text_is_told_as_done(self, server):
        assert await server.tools().run(server.tool("/nothing"), {}) == "Done: the server answered 204, without a text."

    async def test_a_text_is_read_in_its_own_charset(self, server):
        assert await server.tools().run(server.tool("/latin"), {}) == "Straße"

    async def test_one_that_never_stops_is_cut_off(self, server):
        answer = await server.tools().run(server.tool("/endless"), {})
        assert answer.startswith("and so on and so on")
        assert answer.endswith("[cut off here: the answer is longer]")
        assert len(answer) == ANSWER_LIMIT

    @pytest.mark.parametrize("flood", FLOODS)
    async def test_a_server_that_sends_without_end_what_is_no_answer_is_left_at_once(self, server, flood):
        """Its answer is parsed in the event loop that all calls share."""
        said = await failure(server, server.tool("/flooding?" + urlencode({"with": flood})))
        assert said in (
            "its server closed the connection without an answer",
            "its server did not answer as HTTP has it",
            "the answer of its server broke off",
        )

    async def test_a_type_that_is_long_to_read_is_not_read(self, server):
        path = "/typed?" + urlencode({"type": "text/plain" + ";a" * 2000}, safe=";/")
        assert await failure(server, server.tool(path)) == (
            "its server answered with a Content-Type that is too long to be read"
        )

    @pytest.mark.parametrize("charset", ["punycode", "idna", "rot13", "unicode_escape", "zip", "nobody's"])
    async def test_what_is_no_charset_decodes_nothing(self, server, charset):
        path = "/typed?" + urlencode({"type": f"text/plain; charset={charset}"})
        assert await server.tools().run(server.tool(path), {}) == "xn--" + "a9" * 4000

    async def test_a_server_that_never_answers_is_left_at_the_timeout(self, server):
        for path in ("/slow", "/stalled"):
            said = await failure(server, server.tool(path, timeout=0.2))
            assert said == "its server did not answer within 0.2 s"

    async def test_an_error_is_told_with_its_status_and_a_piece_of_what_was_said(self, server):
        said = await failure(server, server.tool("/missing"))
        assert said.startswith("its server answered 404: no such parcel!!!")
        assert len(said) < 300

    @pytest.mark.parametrize(
        ("path", "told"),
        [
            ("/picture", "its server answered with image/png, not with text or JSON"),
            ("/compressed", "its server compressed the answer, which it was not asked to do"),
            ("/broken", "the answer of its server broke off"),
            ("/dropped", "its server closed the connection without an answer"),
        ],
    )
    async def test_what_is_no_answer_is_told_in_one_line(self, server, path, told):
        assert await failure(server, server.tool(path)) == told

    async def test_a_server_that_is_not_there_is_told(self, server):
        tool = server.tool(url=f"https://{HOST}:1/")
        with pytest.raises(ToolError, match=r"^its server can't be reached$"):
            await server.tools(allow=f"{HOST}:1").run(tool, {})

    @pytest.mark.parametrize(
        ("certificate", "told"),
        [
            ({"name": "other.example.test"}, "it is another host's"),
            ({"expired": True}, "certificate has expired"),
            ({"self_signed": True}, "self-signed certificate"),
        ],
    )
    async def test_a_certificate_that_is_not_its_own_is_refused(self, tmp_path, certificate, told):
        async with tool_server(tmp_path, **certificate) as server:
            said = await failure(server, server.tool())
            assert said == f"the certificate of its server is not trusted: {told}"
            assert server.asked == []

    async def test_an_authority_that_the_system_does_not_know_is_not_trusted(self, server):
        with pytest.raises(ToolError, match="unable to get local issuer certificate"):
            await server.tools(trusted=False).run(server.tool(), {})
        assert server.asked == []


class TestSecrets:
    async def test_none_is_in_the_log_in_an_error_or_in_a_repr(self, server, log: io.StringIO):
        tool = server.tool("/headers?status=500", headers={"Authorization": f"Bearer {SECRET}", "X-Key": SECRET[::-1]})
        said = await failure(server, tool)
        told = await server.tools().run(server.tool("/headers", headers=tool.headers), {})
        assert "its server answered 500" in said
        assert "***" in told
        for text in (said, told, log.getvalue(), repr(tool)):
            assert SECRET not in text
            assert SECRET[::-1] not in text

    async def test_no_address_and_no_url_is_in_an_error_or_in_the_log(self, server, log: io.StringIO):
        tool = server.tool("/echo?key=" + SECRET, method="GET", timeout=0.2)
        await server.tools().run(tool, {})
        for tools in (server.tools(allow=""), server.tools(trusted=False), server.tools(FakeDns(["127.9.9.9"]))):
            with pytest.raises(ToolError) as caught:
                await tools.run(tool, {})
            for text in (str(caught.value), log.getvalue()):
                assert "127." not in text
                assert SECRET not in text
                assert HOST not in text
            assert caught.value.__cause__ is None

    async def test_each_request_is_one_line_of_the_log(self, server, log: io.StringIO):
        """The line contains nothing of the request or the answer, because a server may repeat what a caller said."""
        await server.tools().run(server.tool(name="find_parcel"), {"name": "Jane Roe"})
        await failure(server, server.tool("/missing", name="lose_parcel"))
        await failure(server, server.tool("/moved", name="move_parcel"))
        first, second, third = log.getvalue().splitlines()
        assert "INFO - HTTP tool find_parcel: status 200 (" in first
        assert "WARNING - HTTP tool lose_parcel: status 404 (" in second
        assert "WARNING - HTTP tool move_parcel: its server answered with a redirect (302)" in third
        assert "no such parcel" not in second
        assert "Jane" not in log.getvalue()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"url": "http://api.example.test/"}, "must begin with https://"),
        ({"url": "https:///x"}, "its url"),
        ({"url": "https://[::1/"}, "its url"),
        ({"url": "https://api.example.test:99999/"}, "is not a valid URL"),
        ({"url": "https://api.example.test:0/"}, "no host and port that there can be"),
        ({"url": "https://%31%32%37.0.0.1/"}, "no host and port that there can be"),
        ({"url": f"https://{'a' * 64}.test/"}, "no host and port that there can be"),
        ({"url": "https://api.example.test\\@127.0.0.1/"}, "its url"),
        ({"url": "file:///etc/passwd"}, "must begin with https://"),
        ({"url": "https://user:pass@api.example.test/"}, "no user and password"),
        ({"url": "https://api.example.test/#x"}, "no fragment"),
        ({"method": "TRACE"}, "must be one of DELETE, GET, PATCH, POST, PUT"),
        ({"headers": {"Host": "127.0.0.1"}}, "can't be set"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "can't be set"),
        ({"headers": {"X Y": "1"}}, "can't be set"),
        ({"headers": {"X-Key": f"{SECRET}\r\nHost: 127.0.0.1"}}, "holds signs that a header can't"),
        ({"parameters": {"type": "array"}}, 'its type must be "object"'),
    ],
)
async def test_a_tool_that_can_never_be_run_is_found_before_a_call(server, changes, problem):
    tool = server.tool(**changes)
    found = check_http_tool(tool) or ""
    assert problem in found
    assert SECRET not in found
    if "parameters" not in changes:
        assert await failure(server, tool) == found
        assert server.connections == 0


def test_a_tool_that_can_be_run_is_taken():
    tool = HttpTool("a", "b", MappingProxyType({"type": "object", "properties": {}}), "https://api.example.test/x?y=1")
    assert check_http_tool(tool) is None
