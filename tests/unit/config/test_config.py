from pathlib import Path

import pytest
from callgate.config.settings import Config
from callgate.config.sources import rehearsal_token
from callgate.config.warnings import warnings
from callgate.errors import ConfigError


def problems(**values: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        Config.parse(values)
    return caught.value.problems


def test_base_url_is_made_from_the_domain():
    assert Config.parse({"DOMAIN": "Voice.Example.com."}).base_url == "https://voice.example.com"


def test_base_url_of_a_tunnel_stands_over_the_domain():
    config = Config.parse({"DOMAIN": "voice.example.com", "BASE_URL": "https://abc.ngrok-free.app/"})
    assert config.base_url == "https://abc.ngrok-free.app"


def test_base_url_with_http_is_refused_and_says_why_twilio_needs_wss():
    (problem,) = problems(BASE_URL="http://voice.example.com:8765")
    assert problem.startswith("BASE_URL: 'http://voice.example.com:8765'")
    assert "wss://" in problem
    assert "BASE_URL=https://" in problem


@pytest.mark.parametrize(
    "url",
    ["wss", "voice.example.com", "https://", "https://h:8443", "https://h?x=1", "https://u@h", "https://h:x", "ws://h"],
)
def test_base_url_that_twilio_could_not_use_is_refused(url):
    assert problems(BASE_URL=url)[0].startswith("BASE_URL: ")


def test_base_url_may_name_the_port_that_https_has_anyway():
    assert Config.parse({"BASE_URL": "https://h:443"}).base_url == "https://h"


def test_all_problems_are_reported_at_once():
    found = problems(PORT="eighty", MAX_CALLS="0", LOG_FORMAT="xml", TEST_CALL_TO="555", DOMAIN="https://x/")
    assert [problem.partition(":")[0] for problem in found] == [
        "DOMAIN", "PORT", "TEST_CALL_TO", "MAX_CALLS", "LOG_FORMAT",
    ]  # fmt: skip


def test_an_empty_value_counts_as_not_set():
    assert Config.parse({"OPENAI_API_KEY": "  ", "PORT": ""}) == Config()


def test_several_auth_tokens_are_read_for_a_rotation():
    assert Config.parse({"TWILIO_AUTH_TOKEN": "new, old,"}).twilio_auth_tokens == ("new", "old")


def test_phone_numbers_are_taken_as_people_write_them():
    config = Config.parse({"TEST_CALL_TO": "+1 (555) 123-0000, +442071838750"})
    assert config.test_call_to == ("+15551230000", "+442071838750")


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:9/v1", "ws://localhost/x", "ws://10.1.2.3/x", "ws://model:80/x", "ws://[::1]/x"]
)
def test_an_unencrypted_model_is_taken_on_a_private_network(url):
    assert Config.parse({"OPENAI_REALTIME_URL": url}).openai_realtime_url == url


@pytest.mark.parametrize("url", ["ws://api.example.com/x", "ws://8.8.8.8/x", "https://api.example.com"])
def test_an_unencrypted_model_on_a_public_network_is_refused(url):
    assert problems(OPENAI_REALTIME_URL=url)[0].startswith("OPENAI_REALTIME_URL: ")


def test_the_environment_stands_over_the_file(tmp_path: Path):
    (tmp_path / ".env").write_text("PORT=1111\nMAX_CALLS=7\n")
    config = Config.load({"PORT": "2222"}, tmp_path / ".env")
    assert (config.port, config.max_calls) == (2222, 7)


def test_no_secret_shows_in_the_repr():
    given = {"TWILIO_AUTH_TOKEN": "s3cret-a", "ADMIN_TOKEN": "s3cret-b", "OPENAI_API_KEY": "s3cret-c"}
    config = Config.parse({**given, "EDGE_KEY": "s3cret-d"})
    assert "s3cret" not in repr(config)
    assert {*given.values(), "s3cret-d", config.edge_proof} <= set(config.secrets)


def test_the_edges_proof_is_made_of_its_key_or_of_the_first_auth_token():
    token, own = (
        Config.parse({"TWILIO_AUTH_TOKEN": "new,old"}),
        Config.parse({"TWILIO_AUTH_TOKEN": "x", "EDGE_KEY": "new"}),
    )
    assert token.edge_proof == own.edge_proof != ""
    assert Config.parse({}).edge_proof == ""


def test_without_an_auth_token_one_is_made_and_kept_private_for_the_next_start(tmp_path: Path):
    first = Config(data_dir=tmp_path / "data").with_rehearsal_token()
    second = Config(data_dir=tmp_path / "data").with_rehearsal_token()
    assert first.rehearsal
    assert first.twilio_auth_tokens == second.twilio_auth_tokens != ()
    assert rehearsal_token(tmp_path / "data") == first.twilio_auth_tokens[0]
    (kept,) = (tmp_path / "data").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert any("real calls will be refused" in warning for warning in warnings(first))


def test_with_an_auth_token_none_is_made(tmp_path: Path):
    config = Config(twilio_auth_tokens=("t",), data_dir=tmp_path / "data")
    assert config.with_rehearsal_token() is config
    assert not (tmp_path / "data").exists()


def test_a_data_directory_that_cannot_be_written_is_a_problem_of_its_own(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="DATA_DIR"):
        Config(data_dir=tmp_path / "file" / "data").with_rehearsal_token()


def test_a_model_that_will_be_shut_down_is_warned_of():
    found = warnings(Config(openai_model="gpt-realtime", openai_api_key="k"))
    assert any("2027-01-20" in warning for warning in found)


def test_a_secret_may_be_in_a_file_that_is_named(tmp_path: Path):
    (tmp_path / "key").write_text("sk-from-file\n")
    assert Config.parse({"OPENAI_API_KEY_FILE": str(tmp_path / "key")}).openai_api_key == "sk-from-file"


def test_a_secret_given_twice_or_in_a_file_that_is_not_there_is_refused(tmp_path: Path):
    assert "OPENAI_API_KEY_FILE" in problems(OPENAI_API_KEY="a", OPENAI_API_KEY_FILE=str(tmp_path))[0]
    assert "can't be read" in problems(TWILIO_AUTH_TOKEN_FILE=str(tmp_path / "none"))[0]
