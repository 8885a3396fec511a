"""The pure modules stay pure: no I/O, no event loop, no clock, and nothing of ours that has any."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "backend/callgate"
PURE = [
    "egress", "foreign", "schema_work", "tool_arguments", "tool_desk",
    "media_stream", "realtime", "heard_clock", "transcript", "loudness", "patience", "limits", "tenure", "keypad",
    "comfort", "responses", "unanswered",
    "tools", "declarations", "agent", "commands", "conversation", "twiml", "signature", "token", "prices", "receipt",
    "outbound_numbers", "outbound_request", "once",
]  # fmt: skip
ALLOWED = {
    "__future__", "base64", "binascii", "collections", "dataclasses", "decimal", "enum", "hashlib", "ipaddress", "json",
    "logging", "math", "re", "secrets", "types", "typing", "urllib.parse",
    "itsdangerous", "twilio.twiml.voice_response", "twilio.request_validator", "werkzeug.datastructures",
}  # fmt: skip


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            found |= {f".{node.module or name}" for name in names} if node.level else {node.module or ""}
    return found


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_imports_nothing_that_acts(module):
    own = {f".{name}" for name in (*PURE, "errors")}
    for name in imports(PACKAGE / f"{module}.py"):
        assert name in own or name in ALLOWED or name.split(".")[0] in ALLOWED, f"{module} imports {name}"


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_logs_nothing_itself(module):
    assert "getLogger" not in (PACKAGE / f"{module}.py").read_text()


def test_the_relay_knows_nothing_of_the_peers_that_stand_in_for_the_companies():
    for path in PACKAGE.glob("*.py"):
        if path.stem not in ("app", "__main__"):
            assert not imports(path) & {".phone", ".linecheck"}, path


def test_of_the_agents_only_the_book_reads_a_file_and_only_it_and_its_users_know_the_time():
    for path in (PACKAGE / "agents").glob("*.py"):
        acts = {"asyncio", "pathlib", "logging", "os", "time", ".book"} & imports(path)
        assert not acts or path.stem in ("__init__", "book", "cli", "assigned"), path


def test_the_switchboard_knows_nothing_of_the_web_framework():
    assert not {name for name in imports(PACKAGE / "switchboard.py") if name.startswith(("quart", "hypercorn"))}


def test_what_a_provider_is_needs_nothing_that_acts():
    assert imports(PACKAGE / "providers.py") - ALLOWED - {".config", "urllib.parse", "collections.abc"} == set()
