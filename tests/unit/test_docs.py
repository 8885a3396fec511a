"""The pages list exactly the existing settings, and name only existing files and modules."""

import pkgutil
import re
import textwrap
from pathlib import Path

import pytest
from callgate.config.env_file import parse_env_file
from callgate.config.names import SET_BY_THE_BUNDLE, known, of_the_backend
from callgate.config.settings import Config, settings
from support.project import ROOT

NAMES = {field.metadata["env"] for field in settings()}
OF_THE_BUNDLE = set(re.findall(r"\$\{([A-Z_0-9]+)", (ROOT / "docker-compose.prod.yml").read_text())) - NAMES
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "bench/README.md"]
MADE_LATER = {"agents/agents.toml", "tls/cloudflare.ini", "tls/fullchain.pem", "tls/privkey.pem"}  # by the owner


def test_env_example_lists_every_setting_and_no_other():
    text = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", text, re.MULTILINE)) == NAMES | OF_THE_BUNDLE


def test_env_example_is_a_configuration_that_starts():
    lines = (ROOT / ".env.example").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    Config.parse(values)


def test_env_example_is_read_alike_by_all_also_when_every_setting_is_filled_in():
    text = (ROOT / ".env.example").read_text()
    filled_in = re.sub(r"^# ([A-Z0-9_]+=)", r"\1", text, flags=re.MULTILINE)
    assert parse_env_file(filled_in.encode(), ".env.example").keys() == NAMES | OF_THE_BUNDLE


def test_configuration_pages_example_is_read_as_the_page_says():
    page = (ROOT / "docs/configuration.md").read_text()
    (example,) = re.findall(r"## How `\.env` is written\n\n((?:    .*\n)+)", page)
    assert parse_env_file(textwrap.dedent(example).encode(), "docs/configuration.md") == {
        "DOMAIN": "voice.example.com",
        "GREETING": "Hello! Press # at any time, it costs $0.",
        "INSTRUCTIONS": 'You\'re the receptionist of "Example".',
    }


def test_configuration_page_lists_every_setting_with_its_default_and_no_other():
    rows = re.findall(r"^\| `([A-Z_0-9]+)` \| ([^|]*) \|", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE)
    assert {name for name, _ in rows} == NAMES | OF_THE_BUNDLE
    shown = {name: default.strip().strip("`") for name, default in rows}
    for field in settings():
        default = field.default
        if field.name == "base_url":
            default = "https://$DOMAIN"
        if isinstance(default, float):
            default = int(default)
        if isinstance(default, bool):
            default = "on" if default else "off"
        expected = "" if default in (None, ()) else str(default)
        assert shown[field.metadata["env"]] == expected, field.metadata["env"]


def test_every_setting_of_the_bundle_is_known_by_name():
    assert known() >= OF_THE_BUNDLE


def test_the_bundles_backend_is_given_every_setting():
    """From where nginx and certbot have theirs, so that all services are given the same."""
    text = (ROOT / "docker-compose.prod.yml").read_text()
    given = set(re.findall(r"^      - ([A-Z_]+)$", text, re.MULTILINE))
    assert of_the_backend() - SET_BY_THE_BUNDLE <= given <= known()
    assert set(re.findall(r"^      - ([A-Z_]+)=", text, re.MULTILINE)) >= SET_BY_THE_BUNDLE


def test_only_the_config_reads_the_environment():
    for path in (ROOT / "backend/callgate").rglob("*.py"):
        if path.parent.name != "config":
            assert not re.search(r"os\.environ|getenv|load_dotenv", path.read_text()), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_only_files_tests_and_modules_that_exist(page):
    text = page.read_text()
    named = set(re.findall(r"`(\w[\w.-]*(?:/[\w.-]+)*/?)(?: [^`]*)?`", text)) - MADE_LATER
    assert not {path for path in named if "/" in path and _is_ours(path) and not _exists(path)}
    assert not {name for name in named if re.fullmatch(r"test_\w+", name) and not any(ROOT.glob(f"tests/**/{name}.py"))}
    assert not {link for link in re.findall(r"\]\(([^):#]+)[#)]", text) if not (page.parent / link).exists()}
    for name in named:
        if name.startswith("callgate."):
            pkgutil.resolve_name(name)


def test_the_log_is_quoted_as_it_is_written():
    source = "".join(path.read_text() for path in (ROOT / "backend/callgate").rglob("*.py"))
    source = re.sub(r'"\s*f?"', "", source)  # a string that continues on the next line
    table = (ROOT / "docs/operations.md").read_text().partition("| Line |")[2].partition("\n\n")[0]
    quotes = [
        quote for cell in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE) for quote in re.findall("`(.+?)`", cell)
    ]
    assert len(quotes) > 20
    parts = {part.strip() for quote in quotes for part in re.split(r"CA…|[….:()\[\]]|POST /incoming-call", quote)}
    assert not {part for part in parts if part not in source}


def _is_ours(path: str) -> bool:
    return _exists(Path(path).parts[0])


def _exists(path: str) -> bool:
    """Whether the path exists in the project or, as rooms are named in ARCHITECTURE.md, in its package."""
    return any((folder / path).exists() for folder in (ROOT, ROOT / "backend/callgate"))
