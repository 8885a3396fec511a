import pytest
from callgate.config.settings import Config
from callgate.config.warnings import warnings
from callgate.errors import ConfigError
from callgate.models.endpoints import Endpoint, endpoints

AZURE = {
    "AZURE_OPENAI_ENDPOINT": "https://example.openai.azure.com/",
    "AZURE_OPENAI_API_KEY": "azure-s3cret",
    "AZURE_OPENAI_DEPLOYMENT": "voice",
}
OPENAI = {"OPENAI_API_KEY": "sk-s3cret"}


def order(**settings: str) -> tuple[Endpoint, ...]:
    return endpoints(Config.parse(settings))


def problems(**settings: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        Config.parse(settings)
    return caught.value.problems


def test_openai_is_asked_for_its_model_with_the_key():
    (only,) = order(**OPENAI)
    assert only.url == "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1"
    assert dict(only.headers) == {"Authorization": "Bearer sk-s3cret"}
    assert only.model == "gpt-realtime-2.1"


def test_the_second_model_then_azure_stand_behind_openai():
    found = order(**OPENAI, **AZURE, OPENAI_MODEL="gpt-realtime-2.1", OPENAI_FALLBACK_MODEL="gpt-realtime-2.1-mini")
    assert [(each.name, each.model) for each in found] == [
        ("OpenAI Realtime API", "gpt-realtime-2.1"),
        ("OpenAI Realtime API (gpt-realtime-2.1-mini)", "gpt-realtime-2.1-mini"),
        ("Azure OpenAI Realtime API", "voice"),
    ]
    assert found[1].headers == found[0].headers
    assert found[1].url == "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1-mini"


def test_azure_is_reached_by_the_ga_protocol_with_its_own_key_alone():
    (only,) = order(**AZURE)
    assert only.url == "wss://example.openai.azure.com/openai/v1/realtime?model=voice"
    assert dict(only.headers) == {"api-key": "azure-s3cret"}


@pytest.mark.parametrize("deployment", ["voice prod", "a&b=c"])
def test_a_deployment_may_have_any_name(deployment):
    (only,) = order(**AZURE | {"AZURE_OPENAI_DEPLOYMENT": deployment})
    assert " " not in only.url
    assert only.url.count("&") == 0
    assert only.model == deployment


def test_azure_that_a_private_network_has_may_be_unencrypted():
    (only,) = order(**AZURE | {"AZURE_OPENAI_ENDPOINT": "http://127.0.0.1:8080"})
    assert only.url == "ws://127.0.0.1:8080/openai/v1/realtime?model=voice"


@pytest.mark.parametrize("written", ["https://h.openai.azure.com", "https://h.openai.azure.com/openai/v1/"])
def test_an_azure_resource_is_taken_as_the_portal_and_the_sdk_show_it(written):
    assert (
        Config.parse(AZURE | {"AZURE_OPENAI_ENDPOINT": written}).azure_openai_endpoint == "https://h.openai.azure.com"
    )


@pytest.mark.parametrize(
    "written",
    ["h.openai.azure.com", "http://h.openai.azure.com", "https://", "https://h/openai/deployments/x", "wss://h"],
)
def test_what_is_no_azure_resource_is_refused(written):
    (problem,) = problems(**AZURE | {"AZURE_OPENAI_ENDPOINT": written})
    assert problem.startswith("AZURE_OPENAI_ENDPOINT: ")
    assert "https://" in problem


@pytest.mark.parametrize("missing", AZURE)
def test_a_part_of_azure_that_is_missing_is_named(missing):
    (problem,) = problems(**AZURE | {missing: ""})
    assert problem.startswith(f"{missing}: it is not set")


def test_the_parts_of_azure_that_are_missing_are_told_with_every_other_problem():
    found = problems(PORT="eighty", AZURE_OPENAI_DEPLOYMENT="voice")
    assert [problem.partition(":")[0] for problem in found] == ["PORT", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY"]


def test_azures_key_may_be_in_a_file(tmp_path):
    (tmp_path / "key").write_text("azure-from-file\n")
    settings = AZURE | {"AZURE_OPENAI_API_KEY": "", "AZURE_OPENAI_API_KEY_FILE": str(tmp_path / "key")}
    assert order(**settings)[0].headers["api-key"] == "azure-from-file"


def test_no_key_shows_in_a_repr_and_the_log_masks_all():
    config = Config.parse(OPENAI | AZURE | {"OPENAI_FALLBACK_MODEL": "gpt-realtime-2.1-mini"})
    assert "s3cret" not in repr(config) + repr(endpoints(config))
    assert set(config.secrets) == {"sk-s3cret", "azure-s3cret"}


def test_another_server_may_want_no_key():
    (only,) = order(OPENAI_REALTIME_URL="ws://127.0.0.1:9/v1/realtime?region=eu")
    assert only.headers == {}
    assert only.name == "Realtime API at 127.0.0.1:9"
    assert only.url == "ws://127.0.0.1:9/v1/realtime?region=eu&model=gpt-realtime-2.1"


def test_a_model_that_the_address_names_stands_over_the_setting_but_is_not_the_second():
    first, second = order(
        OPENAI_REALTIME_URL="ws://127.0.0.1:9/v1?model=own", OPENAI_FALLBACK_MODEL="gpt-realtime-2.1-mini"
    )
    assert (first.model, first.url) == ("own", "ws://127.0.0.1:9/v1?model=own")
    assert (second.model, second.url) == ("gpt-realtime-2.1-mini", "ws://127.0.0.1:9/v1?model=gpt-realtime-2.1-mini")


def test_the_line_check_answers_where_nobody_else_does():
    config = Config.parse({"OPENAI_FALLBACK_MODEL": "gpt-realtime-2.1-mini"})
    (only,) = endpoints(config, "ws://127.0.0.1:9/v1/realtime")
    assert (only.name, only.url, only.model) == ("the line check", "ws://127.0.0.1:9/v1/realtime", "line-check")
    assert any("line check" in warning for warning in warnings(config))
    assert any(warning.startswith("OPENAI_FALLBACK_MODEL is not used") for warning in warnings(config))


@pytest.mark.parametrize("settings", [OPENAI, AZURE, {"OPENAI_REALTIME_URL": "ws://127.0.0.1:9/v1"}])
def test_the_line_check_answers_nothing_where_somebody_else_does(settings):
    config = Config.parse(settings)
    assert not config.uses_line_check
    assert not any("line check" in warning for warning in warnings(config))


def test_who_is_refused_is_told_which_settings_to_check():
    found = order(**OPENAI, **AZURE, OPENAI_FALLBACK_MODEL="gpt-realtime-2.1-mini")
    assert ["OPENAI_MODEL" in each.if_refused for each in found] == [True, False, False]
    assert ["OPENAI_FALLBACK_MODEL" in each.if_refused for each in found] == [False, True, False]
    assert ["AZURE_OPENAI_API_KEY" in each.if_refused for each in found] == [False, False, True]


def test_a_second_model_that_will_be_shut_down_is_warned_of():
    found = warnings(Config.parse(OPENAI | {"OPENAI_FALLBACK_MODEL": "gpt-realtime-mini"}))
    assert any(warning.startswith("OPENAI_FALLBACK_MODEL=gpt-realtime-mini shuts down") for warning in found)


def test_an_agent_may_ask_openai_for_another_model_and_nobody_else():
    first, second, azure = (
        each.asked_for("gpt-realtime-2") for each in order(**OPENAI, **AZURE, OPENAI_FALLBACK_MODEL="second")
    )
    assert (first.model, first.url) == ("gpt-realtime-2", "wss://api.openai.com/v1/realtime?model=gpt-realtime-2")
    assert first.name == "OpenAI Realtime API (gpt-realtime-2)"
    assert "gpt-realtime-2" in first.if_refused
    assert (second.model, azure.model) == ("second", "voice")


@pytest.mark.parametrize("model", [None, "gpt-realtime-2.1"])
def test_an_agent_that_wants_what_there_is_gets_it(model):
    (only,) = order(**OPENAI)
    assert only.asked_for(model) is only
