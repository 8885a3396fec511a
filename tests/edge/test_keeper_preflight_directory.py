"""What the keeper makes of the authority's directory, of the way there, and of the time that it tells."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from demo.local_edge import LOOPBACK, free_ports
from keeper.look.authority import Directory, get_directory, look_at_directory
from keeper.look.clock import look_at_clock
from keeper.look.finding import Finding, Verdict
from keeper.settings import Settings
from support.connect_proxy import ConnectProxy
from support.edge.directories import directory_server
from support.edge.pairs import Authority

DOMAIN = "voice.example.com"
DAYS = 86400.0
ONLY_THE_PROXY_KNOWS = "acme.invalid"
USER = "keeper:the-password-of-the-proxy"
SECRET = "the-password-of-the-proxy"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


class Ways:
    """Directories, and ways to them, each of which lasts until the test ends."""

    def __init__(self, folder: Path, authority: Authority, stack: ExitStack) -> None:
        self.folder, self.authority, self.stack = folder, authority, stack
        (folder / "ca.pem").write_bytes(authority.pem)

    def directory(
        self, *, starts_in: float = 0, ends_in: float = 1, issuer: Authority | None = None, **options: object
    ) -> str:
        days = {"starts_in": datetime.timedelta(starts_in), "ends_in": datetime.timedelta(ends_in)}
        pair = (issuer or self.authority).issue(LOOPBACK, ONLY_THE_PROXY_KNOWS, **days)
        return self.stack.enter_context(directory_server(self.folder / "server", pair, **options))  # type: ignore[arg-type]

    def proxy(self, **options: object) -> ConnectProxy:
        names = {ONLY_THE_PROXY_KNOWS: LOOPBACK}
        return self.stack.enter_context(ConnectProxy(names, **options))  # type: ignore[arg-type]

    def settings(self, **environ: str) -> Settings:
        state = {"CERTBOT_STATE": str(self.folder / "state"), "CERT_PUBLISHED": str(self.folder / "published")}
        trust = {"REQUESTS_CA_BUNDLE": str(self.folder / "ca.pem")}
        return Settings.parse({"DOMAIN": DOMAIN, **state, **trust, **environ})


@pytest.fixture
def ways(tmp_path: Path, authority: Authority) -> Iterator[Ways]:
    with ExitStack() as stack:
        yield Ways(tmp_path, authority, stack)


def by_the_proxy(url: str) -> str:
    return url.replace(LOOPBACK, ONLY_THE_PROXY_KNOWS)


def only(directory: Directory, profile: str = "", *, clock: Verdict = Verdict.CANT_TELL) -> Finding:
    (finding,) = look_at_directory(directory, profile, clock=clock)
    return finding


# The way to the directory.


async def test_directory_is_good(ways: Ways):
    url = ways.directory(meta={"profiles": {"classic": "a text"}, "caaIdentities": ["ca.example"]})
    found = await get_directory(ways.settings(), url)
    assert only(found, "classic") == Finding(Verdict.GOOD, f"the ACME server {url} answers")
    assert found.caa_identities == {"ca.example"}


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
async def test_directory_is_fetched_through_the_proxy(ways: Ways, variable: str):
    url, proxy = by_the_proxy(ways.directory()), ways.proxy(user=USER)
    finding = only(await get_directory(ways.settings(**{variable: proxy.url}), url))
    assert finding == Finding(Verdict.GOOD, f"the ACME server {url} answers through the proxy {LOOPBACK}:{proxy.port}")
    assert proxy.asked == [url.removeprefix("https://").removesuffix("/dir")]


async def test_proxy_in_lower_case_is_preferred_as_certbot_does(ways: Ways):
    url, good, other = by_the_proxy(ways.directory()), ways.proxy(), ways.proxy(refuses=403)
    found = await get_directory(ways.settings(https_proxy=good.url, HTTPS_PROXY=other.url), url)
    assert only(found).verdict is Verdict.GOOD
    assert other.asked == []


@pytest.mark.parametrize("excepted", [LOOPBACK, "nginx,127.0.0.0/8", "*"])
async def test_authority_that_is_excepted_is_asked_directly(ways: Ways, excepted: str):
    url, proxy = ways.directory(), ways.proxy()
    finding = only(await get_directory(ways.settings(HTTPS_PROXY=proxy.url, NO_PROXY=excepted), url))
    assert finding.verdict is Verdict.GOOD
    assert proxy.asked == []


async def test_proxy_whose_scheme_is_left_out(ways: Ways):
    url, proxy = by_the_proxy(ways.directory()), ways.proxy()
    found = await get_directory(ways.settings(HTTPS_PROXY=f"{LOOPBACK}:{proxy.port}"), url)
    assert only(found).verdict is Verdict.GOOD


async def test_password_of_the_proxy_may_contain_any_character(ways: Ways):
    url, proxy = by_the_proxy(ways.directory()), ways.proxy(user="keeper@example:p@ss/w:rd%")
    settings = ways.settings(HTTPS_PROXY=f"http://keeper%40example:p%40ss%2Fw%3Ard%25@{LOOPBACK}:{proxy.port}")
    assert only(await get_directory(settings, url)).verdict is Verdict.GOOD


async def test_name_that_only_the_proxy_knows_is_suspicious_without_it(ways: Ways):
    finding = only(await get_directory(ways.settings(), by_the_proxy(ways.directory())))
    assert finding.verdict is Verdict.SUSPICIOUS
    assert "can't be reached from here (its name is not known here)" in finding.says
    assert "if only a proxy leads out, name it in HTTPS_PROXY" in finding.says


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"user": f"{USER}-of-last-year"}, "wants another user and password (status 407)"),
        ({"refuses": 403}, f"does not connect to {ONLY_THE_PROXY_KNOWS} (status 403): have it allowed there"),
    ],
)
async def test_proxy_that_refuses_is_suspicious_and_its_password_is_not_shown(
    ways: Ways, options: dict[str, object], says: str
):
    url, proxy = by_the_proxy(ways.directory()), ways.proxy(**options)
    settings = ways.settings(HTTPS_PROXY=f"http://{USER}@{LOOPBACK}:{proxy.port}")
    finding = only(await get_directory(settings, url))
    assert finding.verdict is Verdict.SUSPICIOUS
    assert finding.says.startswith(f"the proxy {LOOPBACK}:{proxy.port} ")
    assert says in finding.says
    assert SECRET not in finding.says + repr(settings)


@pytest.mark.parametrize(
    ("proxy", "says"),
    [
        (f"http://{USER}@{LOOPBACK}:1", f"{LOOPBACK} is the container, not the machine"),
        (f"http://{USER}@proxy.invalid:3128", "its name is not known here"),
        (f"socks5://{USER}@{LOOPBACK}:1", "it is a SOCKS proxy"),
        (f"http://{USER}@[::1", "can't be used"),
        (f"http://{USER}@:3128", "can't be used"),
        (f"http://{USER}@{LOOPBACK}:port", "can't be used"),
    ],
)
async def test_proxy_that_can_not_be_used_is_suspicious_and_its_password_is_not_shown(
    ways: Ways, proxy: str, says: str
):
    finding = only(await get_directory(ways.settings(HTTPS_PROXY=proxy), "https://acme.invalid/dir"))
    assert finding.verdict is Verdict.SUSPICIOUS
    assert says in finding.says
    assert "HTTPS_PROXY" in finding.says
    assert SECRET not in finding.says


# What answers there.


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"status": 503}, "answers with status 503"),
        ({"body": b"<html>Sign in to this hotel's network</html>"}, "is not an ACME directory: check ACME_SERVER"),
        ({"body": b"[]"}, "is not an ACME directory"),
        ({"body": b'{"newOrder": "x", "meta": ["?"]}'}, "is not an ACME directory"),
    ],
)
async def test_what_is_no_directory_is_suspicious(ways: Ways, options: dict[str, object], says: str):
    finding = only(await get_directory(ways.settings(), ways.directory(**options)), "classic")
    assert finding.verdict is Verdict.SUSPICIOUS
    assert says in finding.says


async def test_profile_that_the_directory_does_not_offer_is_wrong(ways: Ways):
    url = ways.directory(meta={"profiles": {"classic": "", "tlsserver": ""}})
    _, finding = look_at_directory(await get_directory(ways.settings(), url), "shortlived", clock=Verdict.GOOD)
    assert finding.verdict is Verdict.WRONG
    assert "has no profile 'shortlived' (it offers classic, tlsserver): set ACME_PROFILE" in finding.says


async def test_server_that_nobody_here_trusts_is_suspicious(ways: Ways):
    finding = only(await get_directory(ways.settings(), ways.directory(issuer=Authority("A proxy that reads along"))))
    assert finding.verdict is Verdict.SUSPICIOUS
    assert "is not trusted here" in finding.says
    assert "ACME_CA_BUNDLE" in finding.says


async def test_file_of_trust_that_does_not_exist_is_named(ways: Ways):
    settings = ways.settings(REQUESTS_CA_BUNDLE=str(ways.folder / "nowhere.pem"))
    finding = only(await get_directory(settings, ways.directory()))
    assert finding.verdict is Verdict.SUSPICIOUS
    assert "correct REQUESTS_CA_BUNDLE" in finding.says


async def test_silent_server_is_suspicious(ways: Ways, unused: int):
    finding = only(await get_directory(ways.settings(), f"https://{LOOPBACK}:{unused}/dir"))
    assert finding.verdict is Verdict.SUSPICIOUS
    assert "can't be reached from here (Connection refused)" in finding.says


@pytest.fixture
def unused() -> int:
    return free_ports(1)[0]


# The clock.


async def clock(ways: Ways, url: str, now: float) -> tuple[Finding, Directory]:
    settings = ways.settings()
    directory = await get_directory(settings, url)
    return look_at_clock(directory, settings, now), directory


@pytest.mark.parametrize(
    ("off", "verdict", "says"),
    [
        (0.0, Verdict.GOOD, "agrees"),
        (50.0, Verdict.GOOD, "agrees"),
        (-300.0, Verdict.SUSPICIOUS, "this machine's clock is 5 minutes slow: set it by NTP"),
        (1200.0, Verdict.SUSPICIOUS, "this machine's clock is 20 minutes fast: set it by NTP"),
        (5 * 3600.0, Verdict.WRONG, "this machine's clock is 5 hours fast: set it by NTP"),
        (-40 * DAYS, Verdict.WRONG, "this machine's clock is 40 days slow: set it by NTP"),
    ],
)
async def test_clock_is_compared_with_the_authoritys(ways: Ways, off: float, verdict: Verdict, says: str):
    finding, _ = await clock(ways, ways.directory(), time.time() + off)
    assert finding.verdict is verdict
    assert says in finding.says


@pytest.mark.parametrize(
    ("valid", "says"),
    [
        # The authority's time, by which its certificate is valid, is 12 days from this machine's.
        ((10, 90), "this machine's clock is 12 days slow: set it by NTP"),
        ((-90, -10), "this machine's clock is 12 days fast: set it by NTP"),
    ],
)
async def test_clock_that_is_days_off_is_named_first_and_not_the_servers_certificate(
    ways: Ways, valid: tuple[int, int], says: str
):
    off = 12 * DAYS if valid[0] > 0 else -12 * DAYS
    url = ways.directory(starts_in=valid[0], ends_in=valid[1], clock_is_off=off)
    finding, directory = await clock(ways, url, time.time())
    assert finding.verdict is Verdict.WRONG
    assert finding.says == says
    assert only(directory, clock=finding.verdict).says.endswith(
        "this machine's clock, which is wrong: set the clock first"
    )


async def test_time_is_read_through_the_proxy_too(ways: Ways):
    proxy = ways.proxy()
    url = by_the_proxy(ways.directory(starts_in=-90, ends_in=-10, clock_is_off=-12 * DAYS))
    settings = ways.settings(HTTPS_PROXY=proxy.url)
    finding = look_at_clock(await get_directory(settings, url), settings, time.time())
    assert finding.verdict is Verdict.WRONG


@pytest.mark.parametrize(("valid", "says"), [((-9, -2), "is expired, and"), ((2, 9), "is not valid yet, and")])
async def test_certificate_of_the_server_that_is_out_of_its_dates_is_not_called_a_wrong_clock(
    ways: Ways, valid: tuple[int, int], says: str
):
    finding, directory = await clock(ways, ways.directory(starts_in=valid[0], ends_in=valid[1]), time.time())
    assert finding.verdict is Verdict.GOOD
    told = only(directory, clock=Verdict.GOOD)
    assert told.verdict is Verdict.SUSPICIOUS
    assert says in told.says
    assert "this machine's clock is right" in told.says


async def test_time_of_a_server_that_nobody_trusts_is_not_believed(ways: Ways):
    stranger = Authority("A stranger")
    url = ways.directory(issuer=stranger, starts_in=-9, ends_in=-2, clock_is_off=-12 * DAYS)
    finding, _ = await clock(ways, url, time.time())
    assert finding.verdict is Verdict.CANT_TELL
