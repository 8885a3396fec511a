"""What the settings are is written in three places for people; they can't come apart."""

import re

from callgate.config.settings import Config, settings
from support.project import ROOT

NAMES = {field.metadata["env"] for field in settings()}
OF_THE_BUNDLE = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.prod.yml").read_text())) - NAMES


def test_env_example_lists_every_setting_and_no_other():
    text = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", text, re.MULTILINE)) == NAMES | OF_THE_BUNDLE


def test_env_example_is_a_configuration_that_starts():
    lines = (ROOT / ".env.example").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    Config.parse(values)


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


def test_only_the_config_reads_the_environment():
    for path in (ROOT / "backend/callgate").rglob("*.py"):
        if path.parent.name != "config":
            assert not re.search(r"os\.environ|getenv|load_dotenv", path.read_text()), path
