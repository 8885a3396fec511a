"""The rooms keep their rules: `core` is pure, imports go one way, and the service knows nothing of its neighbours.

`python tests/support/rooms.py` draws what is checked here.
"""

from graphlib import CycleError

import pytest
from support.rooms import Module, arrows, folders, modules, names_with_several_meanings, order, within

PURE = ("core", "peers.linecheck.realtime", "peers.phone.simulation")
BESIDE = ("__main__", "operator", "peers")  # the service
HARMLESS = {  # libraries that neither perform I/O nor wait
    "__future__", "base64", "binascii", "collections", "copy", "dataclasses", "decimal", "enum", "hashlib",
    "ipaddress", "itertools", "json", "logging", "math", "re", "secrets", "types", "typing", "urllib.parse",
    "xml.etree", "itsdangerous", "twilio.twiml.voice_response", "twilio.request_validator", "werkzeug.datastructures",
    "codecs", "websockets.speedups", "websockets.utils",
}  # fmt: skip


@pytest.fixture(scope="module", name="every")
def every_module() -> dict[str, Module]:
    return modules()


@pytest.fixture(scope="module")
def service(every: dict[str, Module]) -> dict[str, Module]:
    return {name: each for name, each in every.items() if name and name.partition(".")[0] not in BESIDE}


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_imports_nothing_that_acts(every, room):
    may_be_imported = {"errors", *within(room, every), *within("core", every)}
    for name, module in within(room, every).items():
        assert module.imports <= may_be_imported, f"{name} imports {module.imports - may_be_imported}"
        acting = {library for library in module.libraries if not {library, library.partition(".")[0]} & HARMLESS}
        assert not acting, f"{name} imports {acting}"
        assert "getLogger" not in module.text, name


def test_imports_run_one_way_in_every_room(every):
    for room in folders(every):
        try:
            order(arrows(room, every))
        except CycleError as exc:
            pytest.fail(f"a circle in callgate.{room}: {' → '.join(exc.args[1][::-1])}")


def test_the_service_knows_neither_what_an_operator_runs_nor_who_stands_in_for_twilio_and_the_model(service):
    for name, module in service.items():
        beside = {each for each in module.imports if each.partition(".")[0] in BESIDE}
        assert not beside, f"{name} imports {beside}"


def test_the_peers_know_nothing_of_the_service(every):
    """They speak the protocols and read the settings."""
    for name, module in within("peers", every).items():
        assert {each.partition(".")[0] for each in module.imports} <= {"", "peers", "core", "config", "errors"}, name


def test_only_the_web_knows_the_web_framework(service):
    for name, module in service.items():
        frameworks = {each for each in module.libraries if each.partition(".")[0] in ("quart", "hypercorn")}
        assert not frameworks or name.startswith(("web.", "websocket.on_hypercorn.")), f"{name} imports {frameworks}"


def test_of_the_agents_only_the_book_reads_a_file_and_only_it_and_its_users_know_the_time(every):
    for name, module in within("agents", every).items():
        acts = {"asyncio", "pathlib", "logging", "os", "time"} & module.libraries or {"agents.book"} & module.imports
        assert not acts or name in ("agents", "agents.book", "agents.assigned"), name


def test_the_package_holds_rooms_and_not_files(every):
    assert [name for name, each in every.items() if "." not in name and each.path.name != "__init__.py"] == [
        "__main__",
        "errors",
    ]
    assert len({name.partition(".")[0] for name in every if name} - {"__main__", "errors"}) <= 20


def test_a_class_has_its_name_to_itself(every):
    assert names_with_several_meanings(every) == {}
