"""Everything that can be wrong with a set-up, each produced for real.

For each fault, `BROKEN` has a function that breaks the good set-up, the check that must be the first to fail, and words
from its finding.
"""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp import web
from demo.local_edge import LOOPBACK, free_ports

from support.disks import fill, small_disk
from support.edge.doctor_world import MODEL, NOBODY, NUMBER, PUBLIC, PUBLIC_V6, SetUp, serving
from support.edge.pairs import Authority

HOUR = 3600.0
OLD_TUNNEL = "https://old-name.ngrok-free.app/incoming-call"

Break = Callable[[SetUp], Awaitable[None] | None]
BROKEN: list[tuple[Break, str, str]] = []


def broken(cause: str, says: str) -> Callable[[Break], Break]:
    """Register a way to break a set-up."""

    def note(break_it: Break) -> Break:
        BROKEN.append((break_it, cause, says))
        return break_it

    return note


@broken("settings", "not encrypted")
def http_base_url(it: SetUp) -> None:
    it.values["BASE_URL"] = f"http://{it.domain}"


@broken("settings", "not a host name")
def a_url_as_domain(it: SetUp) -> None:
    it.values["DOMAIN"] = f"https://{it.domain}"


@broken("settings.address", "localhost")
def no_domain(it: SetUp) -> None:
    del it.values["DOMAIN"]


@broken("settings.real", "TWILIO_AUTH_TOKEN is not set")
def no_auth_token(it: SetUp) -> None:
    del it.values["TWILIO_AUTH_TOKEN"]
    it.backend(TWILIO_AUTH_TOKEN="")
    it.values["DATA_DIR"] = str(it.folder / "backend" / "data")


@broken("machine.clock", "5 hours fast")
def a_fast_clock(it: SetUp) -> None:
    it.clock = 5 * HOUR


@broken("machine.clock", "3 hours slow")
def a_slow_clock(it: SetUp) -> None:
    it.clock = -3 * HOUR


@broken("machine.disk", "is full")
def full_disk(it: SetUp) -> None:
    disk = it.stack.enter_context(small_disk(it.folder / "disk", "256k"))
    fill(disk / "ballast")
    it.values["DATA_DIR"] = str(disk)


@broken("machine.store", "can't be read")
def broken_store(it: SetUp) -> None:
    (it.folder / "data").mkdir()
    (it.folder / "data" / "calls.sqlite3").write_bytes(b"this is not a database" * 100)
    it.values["DATA_DIR"] = str(it.folder / "data")


@broken("dns.addresses", "neither an A nor an AAAA record")
def no_address(it: SetUp) -> None:
    it.good.tell_dns("clear-a")


@broken("dns.addresses", "SERVFAIL")
def name_servers_that_fail(it: SetUp) -> None:
    it.good.tell_dns("set-servfail")


@broken("dns.addresses", "not a public address")
def private_address(it: SetUp) -> None:
    it.good.tell_dns("clear-a")
    it.good.tell_dns("add-a", addresses=["192.168.1.7"])


@broken("dns.caa", "other-ca.example")
def caa_that_forbids(it: SetUp) -> None:
    it.good.tell_dns("add-caa", policies=[{"tag": "issue", "value": "other-ca.example"}])


@broken("port.ipv6", PUBLIC_V6)
def dead_aaaa(it: SetUp) -> None:
    it.good.tell_dns("add-aaaa", addresses=[PUBLIC_V6])


@broken("port.443", "connection refused")
def port_443_closed(it: SetUp) -> None:
    it.routes[(PUBLIC, 443)] = NOBODY


@broken("port.80", "connection refused")
def port_80_closed(it: SetUp) -> None:
    it.routes[(PUBLIC, 80)] = NOBODY


@broken("port.80", "is redirected")
async def another_server_on_port_80(it: SetUp) -> None:
    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=301, headers={"Location": f"https://{it.domain}{request.path}"})

    await it.serve_http(redirect)


@broken("tls.certificate", "STAGING")
async def staging_certificate(it: SetUp) -> None:
    await it.serve_tls(Authority("(STAGING) Pretend Pear X1").issue(it.domain))


@broken("tls.certificate", "chain is incomplete")
async def missing_intermediate(it: SetUp) -> None:
    pair = Authority("An intermediate").issue(it.domain)
    end = b"-----END CERTIFICATE-----\n"
    await it.serve_tls(pair, chain=pair.fullchain.split(end)[0] + end)


@broken("tls.certificate", "is not trusted")
async def unknown_authority(it: SetUp) -> None:
    await it.serve_tls(Authority("An authority of one's own").issue(it.domain))


@broken("tls.certificate", "other.example, not for")
async def certificate_of_another_name(it: SetUp) -> None:
    await it.serve_tls(it.good.authority.issue("other.example"))


@broken("tls.certificate", "expired on")
async def expired_certificate(it: SetUp) -> None:
    start, end = datetime.timedelta(days=-90), datetime.timedelta(days=-1)
    await it.serve_tls(it.good.authority.issue(it.domain, starts_in=start, ends_in=end))


@broken("tls.certificate", "does not speak TLS 1.2")
async def only_tls_1_3(it: SetUp) -> None:
    await it.serve_tls(it.good.authority.issue(it.domain), tls_1_2=False)


@broken("port.80", "does not answer for")
def nginx_with_another_name(it: SetUp) -> None:
    it.nginx_before(it.good.backend_port, domain="other.example")


@broken("backend.alive", "is not running")
def backend_down(it: SetUp) -> None:
    (port,) = free_ports(1)
    it.values["PORT"] = str(port)
    it.nginx_before(port)


@broken("backend.alive", "something other than the backend")
async def another_program_at_the_backends_port(it: SetUp) -> None:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    it.values["PORT"] = str(await it.stack.enter_async_context(serving(hello, None)))


@broken("webhook.stranger", "nginx answers instead of the backend")
def nginx_that_looks_elsewhere(it: SetUp) -> None:
    it.nginx_before(free_ports(1)[0])


@broken("webhook.stranger", "is redirected with status 308")
async def redirected_webhook(it: SetUp) -> None:
    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=308, headers={"Location": f"https://www.{it.domain}{request.path}"})

    await it.serve_https(redirect)


@broken("webhook.stranger", "answers a request that is not from Twilio with status 200")
async def somebody_who_takes_all(it: SetUp) -> None:
    async def take(request: web.Request) -> web.Response:
        return web.Response(text="<Response/>", content_type="text/xml")

    await it.serve_https(take)


@broken("webhook.signed", "rejects (403)")
def backend_that_has_another_token(it: SetUp) -> None:
    it.backend(TWILIO_AUTH_TOKEN="the-token-of-last-year")


@broken("stream.upgrade", "not 101")
async def proxy_without_websocket(it: SetUp) -> None:
    async def hand_on(request: web.Request) -> web.Response:
        handed_on = ("content-type", "x-twilio-signature")  # but neither Upgrade nor Connection
        kept = {name: value for name, value in request.headers.items() if name.lower() in handed_on}
        url = f"http://{LOOPBACK}:{it.good.backend_port}{request.path_qs}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, url, data=await request.read(), headers=kept) as answer,
        ):
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)

    await it.serve_https(hand_on)


@broken("backend.ready", "model session could not be opened")
async def model_that_is_never_reached(it: SetUp) -> None:
    it.backend(OPENAI_REALTIME_URL=f"ws://{LOOPBACK}:{NOBODY.port}/v1/realtime")
    await it.examine()  # only a call reveals it


@broken("twilio.account", "does not accept this pair")
def wrong_auth_token(it: SetUp) -> None:
    it.good.twilio.refuse = (401, 20003, "Authenticate")


@broken("twilio.account", "does not accept")
def wrong_auth_token_everywhere(it: SetUp) -> None:
    it.values["TWILIO_AUTH_TOKEN"] = "somebody-elses-token"
    it.backend(TWILIO_AUTH_TOKEN="somebody-elses-token")


@broken("twilio.account", "suspended")
def suspended_account(it: SetUp) -> None:
    it.good.twilio.account["status"] = "suspended"


@broken("twilio.number", "an old tunnel's address")
def webhook_at_an_old_tunnel(it: SetUp) -> None:
    it.good.twilio.webhooks[NUMBER]["voice_url"] = OLD_TUNNEL


@broken("twilio.number", "not encrypted")
def webhook_in_the_clear(it: SetUp) -> None:
    it.good.twilio.webhooks[NUMBER]["voice_url"] = f"http://{it.domain}/incoming-call"


@broken("twilio.number", "SIP trunk")
def number_on_a_trunk(it: SetUp) -> None:
    it.good.twilio.webhooks[NUMBER]["trunk_sid"] = "TK" + "2" * 32


@broken("twilio.number", "does not belong to this account")
def foreign_number(it: SetUp) -> None:
    it.values["TWILIO_PHONE_NUMBER"] = "+15559998877"


@broken("twilio.number", "none of the account's 2 numbers")
def no_number_that_leads_here(it: SetUp) -> None:
    del it.values["TWILIO_PHONE_NUMBER"]
    it.good.twilio.numbers.append("+15551230010")
    it.good.twilio.webhooks[NUMBER]["voice_url"] = OLD_TUNNEL


@broken("twilio.number", "has no voice")
def number_without_voice(it: SetUp) -> None:
    it.good.twilio.without_voice.add(NUMBER)


@broken("model.key", "wrong, expired or revoked")
def expired_key(it: SetUp) -> None:
    it.values["OPENAI_API_KEY"] = "sk-the-key-of-last-year"


@broken("model.key", "insufficient_quota")
def no_quota(it: SetUp) -> None:
    it.good.openai.refuse = (429, "insufficient_quota")


@broken("model.exists", "was shut down on 2026-01-20")
def model_past_its_shutdown(it: SetUp) -> None:
    it.good.openai.models[MODEL] = {"shutdown_date": "2026-01-20"}


@broken("model.exists", "has no such model")
def unknown_model(it: SetUp) -> None:
    it.values["OPENAI_MODEL"] = "gpt-realtime-9"


def agents_say(it: SetUp, text: str) -> None:
    """Let the doctor find this file of agents."""
    file = it.folder / "agents.toml"
    file.write_text(text)
    it.values["AGENTS_FILE"] = str(file)


@broken("agents.file", "agents.toml:3: agent.night.voise: there is no such key here: is voice meant?")
def agents_with_a_bad_line(it: SetUp) -> None:
    agents_say(it, '[default]\n[agent.night]\nvoise = "marin"\n')


@broken("agents.file", "there is no such file")
def no_agents_file(it: SetUp) -> None:
    it.values["AGENTS_FILE"] = str(it.folder / "nowhere.toml")


@broken("model.exists", "the agent night uses the model gpt-realtime-9, but OpenAI has no such model")
def agent_with_an_unknown_model(it: SetUp) -> None:
    agents_say(it, '[agent.night]\nmodel = "gpt-realtime-9"\n')


@broken("model.exists", "the agent default uses the model gpt-realtime-1, which was shut down on 2026-01-20")
def agent_with_a_model_past_its_shutdown(it: SetUp) -> None:
    agents_say(it, '[default]\nmodel = "gpt-realtime-1"\n[number."+15551230009"]\ngreeting = "Hi."\n')
    it.good.openai.models["gpt-realtime-1"] = {"shutdown_date": "2026-01-20"}


@broken("dns.addresses", "neither an A nor an AAAA record")
def tunnel_that_is_gone(it: SetUp) -> None:
    del it.values["DOMAIN"]
    it.values["BASE_URL"] = "https://gone.ngrok-free.app"
