"""``agents.toml``: what it means, and what is reported about a faulty one."""

from __future__ import annotations

import pytest
from callgate.agents import Agents, AgentsError
from callgate.agents.plan import AnswerWith, SayClosed
from callgate.agents.read import read_agents
from callgate.core.agent import Agent
from callgate.core.protocols.turn_detection import SemanticVad, ServerVad
from callgate.core.tools.toolbox import Bound, RemoteTools, Transfer
from hypothesis import given
from hypothesis import strategies as st
from support.project import ROOT

EXAMPLE = (ROOT / "agents/agents.example.toml").read_text().splitlines()
BASE = Agent("From the settings.", "marin", "Hello!", transcription="gpt-transcribe", idle=30.0, longest=3600.0)


def read(document: str, **environ: str) -> Agents:
    return read_agents(document, "agents.toml", BASE, environ)


def problems(document: str, **environ: str) -> list[str]:
    with pytest.raises(AgentsError) as caught:
        read(document, **environ)
    return list(caught.value.problems)


def problem(document: str, **environ: str) -> str:
    (only,) = problems(document, **environ)
    return only


# What it means.


def test_an_empty_file_leaves_the_settings_agent():
    agents = read("")
    assert agents.default.agent == BASE
    assert (agents.numbers, agents.named) == ({}, {})


def test_every_key_of_an_agent_is_taken():
    agent = read(
        """
        [default]
        instructions = "You are Ada."
        greeting = "Good day."
        model = "gpt-realtime-2.1-mini"
        voice = "cedar"
        language = "de-DE"
        recording_consent = "This call is recorded."
        noise_reduction = "far_field"
        idle_seconds = 12
        max_call_seconds = 600
        tools = ["hang_up", "transfer_call"]
        turn_detection = { type = "semantic_vad", eagerness = "low" }
        transfer = [{ name = "boss", number = "+15551230009", about = "The boss.", ring_seconds = 30 }]
        mcp = [{ label = "crm", url = "https://c.example.com/", authorization = "${CRM}", allowed_tools = ["find"] }]
        [default.keys]
        0 = { tool = "transfer_call", to = "boss" }
        "#" = { tool = "hang_up" }
        """,
        CRM="s3cret",
    ).default.agent
    assert (agent.instructions, agent.greeting, agent.voice) == ("You are Ada.", "Good day.", "cedar")
    assert (agent.model, agent.language, agent.consent) == ("gpt-realtime-2.1-mini", "de-DE", "This call is recorded.")
    assert (agent.noise_reduction, agent.idle, agent.longest) == ("far_field", 12.0, 600.0)
    assert agent.turn_detection == SemanticVad("low")
    toolbox = agent.toolbox
    assert toolbox.built_in == ("hang_up", "transfer_call")
    assert toolbox.transfers == (Transfer("boss", "+15551230009", "The boss.", 30.0),)
    assert toolbox.mcp == (RemoteTools("crm", "https://c.example.com/", "", "s3cret", ("find",)),)
    assert toolbox.keys == {"0": Bound("transfer_call", {"to": "boss"}), "#": Bound("hang_up", {})}


def test_an_http_tool_is_taken_with_its_schema_and_secret():
    agents = read(
        """
        [[default.http]]
        name = "order_status"
        description = "How an order stands."
        url = "https://api.example.com/orders"
        method = "GET"
        headers = { Authorization = "Bearer ${TOKEN}" }
        timeout_seconds = 2.5
        parameters.properties.order = { type = "string" }
        """,
        TOKEN="s3cret",
    )
    (tool,) = agents.default.agent.toolbox.http
    assert (tool.name, tool.url, tool.method, tool.timeout) == (
        "order_status", "https://api.example.com/orders", "GET", 2.5,
    )  # fmt: skip
    assert tool.headers == {"Authorization": "Bearer s3cret"}
    assert tool.parameters == {"type": "object", "properties": {"order": {"type": "string"}}}
    assert agents.secrets == {"s3cret"}
    assert "s3cret" not in repr(agents)


def test_a_number_inherits_what_it_does_not_say_and_replaces_the_rest_as_a_whole():
    agents = read(
        """
        [default]
        greeting = "Hello."
        voice = "cedar"
        turn_detection = { type = "server_vad", threshold = 0.7 }
        [number."+15551230001"]
        greeting = "Sales."
        turn_detection = { type = "server_vad", silence_duration_ms = 900 }
        """
    )
    sales = agents.numbers["+15551230001"].agent
    assert (sales.greeting, sales.voice, sales.instructions) == ("Sales.", "cedar", BASE.instructions)
    assert sales.turn_detection == ServerVad(silence_duration_ms=900)
    assert agents.default.agent.turn_detection == ServerVad(threshold=0.7)


def test_a_number_may_take_back_what_the_default_says():
    agents = read(
        """
        [default]
        recording_consent = "Recorded."
        noise_reduction = "near_field"
        [number."+15551230001"]
        recording_consent = ""
        noise_reduction = "off"
        """
    )
    agent = agents.numbers["+15551230001"].agent
    assert (agent.consent, agent.noise_reduction) == (None, None)


@pytest.mark.parametrize(
    ("closed", "value"),
    [('{ say = "We are closed." }', SayClosed("We are closed.")), ('{ agent = "night" }', AnswerWith("night"))],
)
def test_what_happens_out_of_hours_is_taken(closed, value):
    plan = read(f'[default]\ntime_zone = "Europe/Berlin"\nhours = {{ when_closed = {closed} }}\n[agent.night]').default
    assert plan.when_closed == value


# What is wrong with it.


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('instructions = "{callr}"', "agents.toml:2: default.instructions: there is no variable {callr}: there are"),
        ('greeting = "{"', "agents.toml:2: default.greeting: there is a single { or }"),
        ('greeting = "{caller!r}"', "agents.toml:2: default.greeting: there is no variable {caller!r}"),
        ('greeting = "{caller.x}"', "agents.toml:2: default.greeting: there is no variable {caller.x}"),
        ('greeting = "{}"', "agents.toml:2: default.greeting: there is no variable {}"),
        ("greeting = 5", "agents.toml:2: default.greeting: it must be a text, in quotes"),
        ('greeting = ""', "agents.toml:2: default.greeting: it must not be empty"),
        ('greting = "x"', "agents.toml:2: default.greting: there is no such key here: is greeting meant?"),
        ('xyzzy = "x"', "agents.toml:2: default.xyzzy: there is no such key here: docs/agents.md lists all"),
        ('idle_seconds = "5"', "agents.toml:2: default.idle_seconds: it must be a whole number"),
        ("idle_seconds = true", "agents.toml:2: default.idle_seconds: it must be a whole number"),
        ("max_call_seconds = -1", "agents.toml:2: default.max_call_seconds: it must be at least 0"),
        ('language = "german"', "agents.toml:2: default.language: 'german' is not a language tag"),
        ('time_zone = "Berlin"', "agents.toml:2: default.time_zone: there is no time zone 'Berlin'"),
        ('time_zone = "../etc/passwd"', "agents.toml:2: default.time_zone: there is no time zone"),
        ('noise_reduction = "on"', "agents.toml:2: default.noise_reduction: it must be 'near_field', 'far_field' or"),
        ("recording_consent = '" + "x" * 501 + "'", "agents.toml:2: default.recording_consent: it is too long: at"),
        ("tools = 5", "agents.toml:2: default.tools: it must be a list, in [ ]"),
        ('tools = ["hang_up",\n"hangup"]', "agents.toml:3: default.tools[1]: 'hangup' is not one of hang_up, "),
        ('tools = ["hang_up", "hang_up"]', "agents.toml:2: default.tools: hang_up is listed twice"),
        ('tools = ["transfer_call"]', "agents.toml:2: default.tools: transfer_call needs somebody to transfer to"),
        ("turn_detection = 5", "agents.toml:2: default.turn_detection: it must be a table"),
        ("turn_detection = {}", "agents.toml:2: default.turn_detection: it needs a type"),
        ('turn_detection = { type = "vad" }', "agents.toml:2: default.turn_detection: its type must be one of"),
        ('turn_detection = { type = "server_vad", threshold = 2 }',
         "agents.toml:2: default.turn_detection.threshold: it must be at most 1"),
        ('[default.keys]\n0 = { tool = "fly" }', "agents.toml:3: default.keys.0: the agent has no tool fly"),
        ('[default.keys]\nA = { tool = "hang_up" }', "agents.toml:3: default.keys.A: 'A' is not one of 0, 1"),
        ('[default.keys]\n0 = { tool = "hang_up", to = "x" }',
         "agents.toml:3: default.keys.0: the arguments of hang_up do not fit"),
        ("[default.hours]", "agents.toml:2: default.hours: hours need a time_zone"),
        ('time_zone = "UTC"\n[default.hours]\nmonday = ["9-5"]', "agents.toml:4: default.hours.monday[0]: '9-5' is"),
        ('time_zone = "UTC"\n[default.hours]\nclosed_on = ["x"]', "agents.toml:4: default.hours.closed_on[0]: it must"),
        ('time_zone = "UTC"\nhours.when_closed = {}', "agents.toml:3: default.hours.when_closed: it must hold either"),
        ('time_zone = "UTC"\nhours.when_closed = { agent = "x" }',
         "agents.toml:3: default.hours.when_closed.agent: there is no [agent.x]: there is none"),
        ('[[default.transfer]]\nname = "a"\nnumber = "555"',
         "agents.toml:4: default.transfer[0].number: a phone number is written with +"),
        ('[[default.transfer]]\nname = "a"\nnumber = "+15551230001"',
         "agents.toml:2: default.transfer: transfers need a tool"),
        ('[[default.http]]\nname = "a b"\ndescription = "x"\nurl = "https://h/"',
         "agents.toml:3: default.http[0].name: 'a b' is not a valid name"),
        ('[[default.http]]\nname = "hang_up"\ndescription = "x"\nurl = "https://h/"',
         "agents.toml:2: default.http: hang_up is the name of a built-in tool"),
        ('[[default.http]]\nname = "a"\ndescription = "x"', "agents.toml:2: default.http[0].url: it is missing"),
        ('[[default.http]]\nname = "a"\ndescription = "x"\nurl = "http://h/"',
         "agents.toml:2: default.http[0]: its url must begin with https://"),
        ('[[default.http]]\nname = "a"\ndescription = "x"\nurl = "https://h/"\nparameters.type = "array"',
         'agents.toml:2: default.http[0]: its type must be "object"'),
        ('[[default.http]]\nname = "a"\ndescription = "x"\nurl = "https://h/"\nparameters.default = 2026-01-01',
         "agents.toml:2: default.http[0]: it holds a value that JSON does not have"),
        ('[[default.http]]\nname = "a"\ndescription = "x"\nurl = "https://h/"\nheaders.A = "${NOT_THERE}"',
         "agents.toml:6: default.http[0].headers.A: NOT_THERE is not set"),
        ('[[default.http]]\nname = "a"\ndescription = "x"\nurl = "https://h/"\nheaders.A = "${a-b}"',
         "agents.toml:6: default.http[0].headers.A: ${a-b} does not name a variable"),
        ('[[default.mcp]]\nlabel = "a"\nurl = "http://h/"', "agents.toml:4: default.mcp[0].url: it must be an https://"),
        ('[[default.mcp]]\nlabel = "a"\nurl = "https://u:p@h/"', "agents.toml:4: default.mcp[0].url: it must hold no"),
    ],
)  # fmt: skip
def test_one_mistake_is_one_line_that_names_file_line_key_and_what_to_do(text, told):
    assert problem(f"[default]\n{text}").startswith(told)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("x = [", "agents.toml:1: it is not TOML: "),
        ("[default]\nvoice = \n", "agents.toml:2: it is not TOML: Invalid value"),
        ("[default]\n[default]", "agents.toml:2: it is not TOML: "),
        ("a = " + "[" * 5000 + "]" * 5000, "agents.toml: it is nested too deeply"),
        ("default = 5", "agents.toml:1: default: it must be a table"),
        ("[defaults]", "agents.toml:1: defaults: there is no such key here: is default meant?"),
        ("[number.555]", "agents.toml:1: number.555: a phone number is written with +"),
        ('[number."+15551230001"]\nvoice = 5', 'agents.toml:2: number."+15551230001".voice: it must be a text'),
        ('[agent."a b"]', "agents.toml:1: agent.\"a b\": 'a b' is not a valid name"),
        ('[agent.night]\ntime_zone = "UTC"\nhours = {}', "agents.toml:3: agent.night.hours: an agent that answers for"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_is_told_of(document, told):
    assert problem(document).startswith(told)


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines():
    tables = ("[default]\nvoice = 5", '[number."+15551230001"]\ntools = ["fly"]', '[agent.night]\n\ngreting = ""')
    found = problems("\n".join(tables))
    assert [line.split(":")[1] for line in found] == ["2", "4", "7"]


def test_what_is_wrong_only_for_who_inherits_it_names_both():
    told = problem(
        """
        [default]
        tools = ["transfer_call"]
        transfer = [{ name = "boss", number = "+15551230009" }]
        [number."+15551230001"]
        transfer = []
        """
    )
    assert told.startswith("agents.toml:3: default.tools: transfer_call needs somebody to transfer to")
    assert told.endswith('(for number."+15551230001", which inherits it)')


def test_what_is_wrong_with_the_default_is_told_once():
    assert len(problems('[default]\ntools = ["transfer_call"]\n[number."+15551230001"]\n[number."+15551230002"]')) == 1


def test_no_secret_is_in_what_is_said_of_a_mistake():
    document = '[[default.http]]\nname = "a"\nurl = "http://h/"\nheaders.A = "Bearer ${TOKEN}"\nheaders.B = "${OTHER}"'
    assert "s3cret" not in "".join(problems(document, TOKEN="s3cret"))


def test_a_secret_that_no_header_can_hold_is_refused_without_being_shown():
    document = '[[default.http]]\nname = "a"\ndescription = "x"\nurl = "https://h/"\nheaders.A = "${TOKEN}"'
    told = problem(document, TOKEN="s3c\nret")
    assert told == "agents.toml:5: default.http[0].headers.A: it holds a character that is not allowed in a header"


VALUES = st.sampled_from(
    ["5", '"x"', "[]", "{}", "true", "1.5", "nan", "inf", "2026-01-01", "07:00:00", "[1]", "{a=1}", "[{}]", "[[]]",
     "-1", '"{"', '"${A}"', '"\\u0000"', '["hang_up"]', "99999999999999999999", "", "[" * 90 + "]" * 90]
)  # fmt: skip
PLACES = st.integers(0, len(EXAMPLE) - 1)


@given(st.lists(st.tuples(PLACES, VALUES), max_size=4), st.lists(PLACES, max_size=2), st.lists(PLACES, max_size=2))
def test_a_file_that_is_changed_anywhere_is_taken_or_refused_in_lines(changed, dropped, doubled):
    lines = list(EXAMPLE)
    for place, value in changed:
        lines[place] = f"{lines[place].partition('=')[0]}= {value}"
    for place in doubled:
        lines.insert(place, EXAMPLE[place])
    for place in dropped:
        lines[place] = ""
    told: tuple[str, ...] = ("agents.toml is right",)
    try:
        read("\n".join(lines))
    except AgentsError as exc:
        told = exc.problems
    assert told
    assert all(line.startswith("agents.toml") and "\n" not in line for line in told)
