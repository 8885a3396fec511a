"""The rooms keep their rules: `core` is pure, imports go one way, and the service knows nothing of its neighbours.

`python tests/support/rooms.py` draws what is checked here.
"""

from graphlib import CycleError

import pytest
from support.rooms import arrows, folders, modules, names_with_several_meanings, order, within

ALL = modules()
PURE = [
    (room, module)
    for room in ("core", "peers.linecheck.realtime", "peers.phone.simulation")
    for module in within(room, ALL).values()
]
SERVICE = {
    name: each for name, each in ALL.items() if name and name.partition(".")[0] not in ("__main__", "operator", "peers")
}
HARMLESS = {  # libraries that neither perform I/O nor wait
    "__future__", "base64", "binascii", "collections", "copy", "dataclasses", "decimal", "enum", "hashlib",
    "ipaddress", "itertools", "json", "logging", "math", "re", "secrets", "types", "typing", "urllib.parse",
    "xml.etree", "itsdangerous", "twilio.twiml.voice_response", "twilio.request_validator", "werkzeug.datastructures",
    "codecs", "websockets.speedups", "websockets.utils",
}  # fmt: skip


@pytest.mark.parametrize(("room", "module"), PURE, ids=[module.name for _, module in PURE])
def test_a_pure_room_imports_nothing_that_acts(room, module):
    of_ours = {
        name for name in module.imports if name != "errors" and name not in within(room, ALL) | within("core", ALL)
    }
    assert not of_ours, f"{module.name} imports {of_ours}"
    acting = {name for name in module.libraries if not {name, name.partition(".")[0]} & HARMLESS}
    assert not acting, f"{module.name} imports {acting}"
    assert "getLogger" not in module.text


@pytest.mark.parametrize("room", folders(ALL))
def test_imports_run_one_way_in_every_room(room):
    try:
        order(arrows(room, ALL))
    except CycleError as exc:
        pytest.fail(f"a circle in callgate.{room}: {' → '.join(exc.args[1][::-1])}")


@pytest.mark.parametrize("module", SERVICE.values(), ids=SERVICE)
def test_the_service_knows_neither_what_an_operator_runs_nor_who_stands_in_for_twilio_and_the_model(module):
    beside = {name for name in module.imports if name.partition(".")[0] in ("__main__", "operator", "peers")}
    assert not beside, f"{module.name} imports {beside}"


def test_the_peers_know_nothing_of_the_service():
    """They speak the protocols and read the settings."""
    for name, module in within("peers", ALL).items():
        assert {each.partition(".")[0] for each in module.imports} <= {"", "peers", "core", "config", "errors"}, name


def test_only_the_web_knows_the_web_framework():
    for name, module in SERVICE.items():
        frameworks = {each for each in module.libraries if each.partition(".")[0] in ("quart", "hypercorn")}
        assert not frameworks or name.startswith(("web.", "websocket.on_hypercorn.")), f"{name} imports {frameworks}"


def test_of_the_agents_only_the_book_reads_a_file_and_only_it_and_its_users_know_the_time():
    for name, module in within("agents", ALL).items():
        acts = {"asyncio", "pathlib", "logging", "os", "time"} & module.libraries or {"agents.book"} & module.imports
        assert not acts or name in ("agents", "agents.book", "agents.assigned"), name


def test_the_package_holds_rooms_and_not_files():
    assert [name for name, each in ALL.items() if "." not in name and each.path.name != "__init__.py"] == [
        "__main__",
        "errors",
    ]
    assert len({name.partition(".")[0] for name in ALL if name} - {"__main__", "errors"}) <= 20


def test_a_class_has_its_name_to_itself():
    assert names_with_several_meanings(ALL) == {}
