"""One set of settings: what Compose itself makes of .env, and what each service of the bundle is given.

`docker compose config` shows both without a container.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from callgate.config.env_file import parse_env_file, spelled
from callgate.config.names import SET_BY_THE_BUNDLE, of_the_backend
from callgate.errors import ConfigError
from dotenv import dotenv_values
from support.engine.bundle import COMPOSE_FILE, Done, run
from support.project import ROOT
from support.spellings import ALIKE, REFUSED

SEED, ROUNDS = 20, 400
PIECES = ["a", "B c", " ", "\t", "#", " #", "$", "$$", "${DOMAIN}", "$HOME", "'", '"', "\\", "\\n", "\\t", "\\'", '\\"',
          "\\\\", "=", ":", "ü", "☎", "\u00a0", "\n", "\r\n", "\nB=", "export ", "%", "`", "!", "{", "}"]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a service that is given one setting as the bundle's services are."""
    service = {"image": "none", "env_file": [{"path": ".env", "required": False}], "environment": ["GREETING"]}
    (tmp_path / "compose.yml").write_text(json.dumps({"services": {"backend": service}}))
    return tmp_path


def compose(engine: Mapping[str, str], folder: Path, file: str = "compose.yml", **shell: str) -> Done:
    environ = {"PATH": os.environ["PATH"], "HOME": "/root", **engine, **shell}
    command = ["docker", "compose", "-f", file, "config", "--format", "json"]
    return run(command, environ=environ, cwd=folder, check=False)


def environments(done: Done) -> dict[str, dict[str, str]]:
    """Return what each service is given. What is not set is left out."""
    assert done.returncode == 0, done.stderr
    services: dict[str, Any] = json.loads(done.stdout)["services"]
    return {
        name: {
            key: value.replace("$$", "$") for key, value in service.get("environment", {}).items() if value is not None
        }
        for name, service in services.items()
    }


@pytest.mark.parametrize("spelling", ALIKE)
def test_compose_reads_what_is_accepted_as_the_backend_does(engine, folder, spelling):
    data, value = ALIKE[spelling]
    (folder / ".env").write_bytes(data)
    given = environments(compose(engine, folder))["backend"]
    assert given == parse_env_file(data, ".env")
    assert value in given.values()


def test_compose_reads_whatever_is_accepted_as_the_backend_does(engine, folder):
    """Many random values that are accepted, each under a name of its own in one file."""
    randomly, accepted = random.Random(SEED), dict[str, str]()
    lines = []
    for number in range(ROUNDS * 40):
        value = "".join(randomly.choices(PIECES, k=randomly.randint(0, 6)))
        quote = randomly.choice(["", "'", '"'])
        line = f"INSTRUCTIONS={quote}{value}{quote}{randomly.choice(['', ' # x'])}\n"
        try:
            read = parse_env_file(line.encode(), ".env")
        except ConfigError:
            continue
        if list(read) == ["INSTRUCTIONS"]:
            name = f"N{number}"
            lines.append(line.replace("INSTRUCTIONS", name, 1))
            accepted[name] = read["INSTRUCTIONS"]
        if len(accepted) == ROUNDS:
            break
    assert len(accepted) == ROUNDS
    (folder / ".env").write_bytes("".join(lines).encode())
    assert environments(compose(engine, folder))["backend"] == accepted


def test_compose_reads_what_the_set_up_spells(engine, folder):
    randomly, expected = random.Random(SEED), dict[str, str]()
    for number in range(ROUNDS):
        value = "".join(randomly.choices(PIECES, k=randomly.randint(0, 6))).replace("\r", "")
        try:
            spelling = spelled(value)
        except ValueError:
            continue
        expected[f"N{number}"] = value
        with (folder / ".env").open("a") as file:
            file.write(f"N{number}={spelling}\n")
    assert environments(compose(engine, folder))["backend"] == expected


def test_the_engine_tells_apart_what_is_refused(engine, folder):
    """Compose stumbles over some of what is refused, and reads some otherwise. The rest is refused for its readers'
    other versions, or for clarity; but there must be a reason for most."""
    unlike = []
    for spelling, (data, _, _) in REFUSED.items():
        (folder / ".env").write_bytes(data)
        done = compose(engine, folder)
        if done.returncode or environments(done)["backend"] != natively(folder / ".env"):
            unlike.append(spelling)
    assert {"a $", "$$", "a # after a tab", "an escaped backslash in single quotes", "as in YAML", "prose"} <= set(
        unlike
    )


def natively(path: Path) -> dict[str, str | None]:
    try:
        return dotenv_values(path, interpolate=False)
    except UnicodeDecodeError:
        return {}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a folder with the bundle's compose file."""
    (tmp_path / COMPOSE_FILE).write_text((ROOT / COMPOSE_FILE).read_text())
    return tmp_path


def test_the_shell_has_precedence_over_the_file_for_every_service(engine, bundle):
    (bundle / ".env").write_text(
        "DOMAIN=file.example.com\nFALLBACK_DIAL=+15551230000\nGREETING='Hi'\nDRAIN_SECONDS=7\n"
    )
    given = environments(
        compose(engine, bundle, COMPOSE_FILE, DOMAIN="shell.example.com", GREETING="Hello", DRAIN_SECONDS="9")
    )
    assert {given[service]["DOMAIN"] for service in ("nginx", "certbot", "backend")} == {"shell.example.com"}
    assert {given[service]["FALLBACK_DIAL"] for service in ("nginx", "backend")} == {"+15551230000"}
    assert (given["backend"]["GREETING"], given["backend"]["DRAIN_SECONDS"]) == ("Hello", "9")


def test_the_doctor_sees_in_its_container_what_the_file_and_this_shell_have(new_bundle):
    with new_bundle(DOMAIN="shell.example.com") as bundle:
        (bundle.folder / ".env").write_text("DOMAIN=file.example.com\nDOMIAN=x\n")
        report = json.loads(bundle.run("scripts/doctor.sh", "--json", check=False).stdout)
        found = {check["name"]: [each["found"] for each in check["findings"]] for check in report["checks"]}
        assert report["base_url"] == "https://shell.example.com"
        assert found["settings.environment"][0].startswith("DOMAIN has another value in the environment than in .env")
        assert found["settings.names"][0].startswith("DOMIAN in .env is not a setting")
        (bundle.folder / ".env").write_text("DOMAIN=file.example.com\nGREETING=Only $HOME\n")
        report = json.loads(bundle.run("scripts/doctor.sh", "--json", check=False).stdout)
        assert report["first_wrong"]["found"].startswith(".env, line 2: Docker Compose may replace the $ in GREETING")


def test_another_env_file_is_every_services(engine, bundle):
    """Compose can be told of another file; what this one lacks is not taken from .env."""
    (bundle / ".env").write_text("DOMAIN=usual.example.com\nGREETING='Hi'\nORDERS_TOKEN=abc\n")
    (bundle / "other.env").write_text("DOMAIN=other.example.com\n")
    given = environments(compose(engine, bundle, COMPOSE_FILE, COMPOSE_ENV_FILES="other.env"))
    assert {given[service]["DOMAIN"] for service in ("nginx", "certbot", "backend")} == {"other.example.com"}
    assert "GREETING" not in given["backend"]


def test_each_service_is_given_a_secret_letter_for_letter(engine, bundle):
    token = 'a$$b#c ${DOMAIN} $HOME\\n"d"'
    (bundle / ".env").write_text(f"TWILIO_AUTH_TOKEN='{token}'\nORDERS_TOKEN='{token}'\n")
    given = environments(compose(engine, bundle, COMPOSE_FILE))
    assert (
        given["nginx"]["EDGE_KEY"] == given["backend"]["TWILIO_AUTH_TOKEN"] == given["backend"]["ORDERS_TOKEN"] == token
    )


def test_what_is_not_set_stays_so_and_what_is_empty_counts_as_such(engine, bundle):
    given = environments(compose(engine, bundle, COMPOSE_FILE))
    assert not (of_the_backend() - SET_BY_THE_BUNDLE) & given["backend"].keys()
    (bundle / ".env").write_text("DOMAIN=file.example.com\n")
    given = environments(compose(engine, bundle, COMPOSE_FILE, DOMAIN=""))
    assert (given["nginx"]["DOMAIN"], given["certbot"]["DOMAIN"], given["backend"]["DOMAIN"]) == (
        "localhost",
        "localhost",
        "",
    )


def test_every_setting_of_the_file_reaches_the_backend_unless_the_container_sets_it(engine, bundle):
    names = sorted(of_the_backend())
    text = "".join(f"{name}={7 if name == 'DRAIN_SECONDS' else f'of-{name}'}\n" for name in names)
    (bundle / ".env").write_text(text)
    given = environments(compose(engine, bundle, COMPOSE_FILE))["backend"]
    assert not [
        name
        for name in names
        if re.search(rf"^{name}=(.*)$", text, re.M)[1] != given[name] and name not in SET_BY_THE_BUNDLE
    ]
    assert given["PORT"] == "8765"
