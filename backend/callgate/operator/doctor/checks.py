"""All checks, in the order in which a call depends on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from callgate.core.units import SECONDS

from . import (
    agents,
    backend,
    domain,
    machine,
    model,
    places,
    ports,
    real_call,
    rehearsal,
    settings,
    tls,
    twilio_account,
    twilio_countries,
    webhooks,
)
from .finding import Status
from .report import Examination
from .runner import Check, hidden, run
from .world import Case, World

_ASKED = ("tls.certificate", "backend.alive")
_CALLED = ("stream.upgrade", "model.key", "model.exists", "backend.ready")

CHECKS: Final[tuple[Check[Case], ...]] = (
    Check(name="settings.address", title="Public address", look=settings.address),
    Check(name="settings.real", title="What a real call needs", look=settings.for_real_calls),
    Check(name="settings.file", title="Settings file", look=settings.privacy),
    Check(name="settings.environment", title="Environment", look=places.environment),
    Check(name="settings.names", title="Names of settings", look=places.names),
    Check(name="agents.file", title="Agents", look=agents.file),
    Check(name="machine.clock", title="Clock", look=machine.clock),
    Check(name="machine.disk", title="Disk", look=machine.disk),
    Check(name="dns.addresses", title="DNS", look=domain.addresses),
    Check(name="dns.caa", title="CAA", look=domain.authority, needs=("dns.addresses",)),
    Check(name="port.443", title="Port 443", look=ports.https, needs=("dns.addresses",)),
    Check(name="port.80", title="Port 80", look=ports.http, needs=("dns.addresses",)),
    Check(name="port.ipv6", title="IPv6", look=ports.ipv6, needs=("port.443", "port.80")),
    Check(name="tls.certificate", title="Certificate", look=tls.certificate, needs=("port.443", "machine.clock")),
    Check(name="tls.renewal", title="Renewal", look=tls.renewal, needs=("tls.certificate",)),
    Check(name="tls.no_name", title="TLS without SNI", look=tls.without_name, needs=("tls.certificate",)),
    Check(name="backend.alive", title="Backend", look=backend.alive, after=("port.443",)),
    Check(name="webhook.stranger", title="Strangers", look=webhooks.stranger, needs=_ASKED),
    Check(name="webhook.signed", title="Webhook", look=webhooks.webhook, needs=(*_ASKED, "webhook.stranger")),
    Check(name="stream.forged", title="Forged stream", look=webhooks.forged, needs=("webhook.signed",)),
    Check(
        name="stream.upgrade",
        title="Stream",
        look=webhooks.upgrade,
        needs=("webhook.signed",),
        after=("stream.forged",),
    ),
    Check(name="machine.store", title="Store", look=machine.store, needs=("machine.disk",)),
    Check(name="twilio.account", title="Twilio account", look=twilio_account.account, needs=("settings.real",)),
    Check(name="twilio.number", title="Twilio number", look=twilio_account.numbers, needs=("twilio.account",)),
    Check(name="twilio.alerts", title="Twilio's error log", look=twilio_account.alerts, needs=("twilio.account",)),
    Check(name="twilio.countries", title="Countries", look=twilio_countries.permissions, needs=("twilio.account",)),
    Check(name="model.key", title="OpenAI key", look=model.key, after=("agents.file",)),
    Check(name="model.exists", title="Model", look=model.models, needs=("model.key",)),
    Check(
        name="backend.ready",
        title="Readiness",
        look=backend.ready,
        needs=("backend.alive", "machine.disk", "model.key", "model.exists"),
    ),
)
CALL: Final = Check(
    name="call", title="Test call", look=rehearsal.call, needs=_CALLED, deadline=rehearsal.LONGEST + 30 * SECONDS
)
REAL_CALL: Final = Check(
    name="call.real",
    title="Test call that rings",
    look=real_call.call,
    needs=(*_CALLED, "twilio.account"),
    after=("twilio.alerts",),
    deadline=real_call.LONGEST + 60 * SECONDS,
)


async def examine(
    values: Mapping[str, str],
    world: World,
    *,
    env_file: Path | None = None,
    in_file: Mapping[str, str] | None = None,
    bad_lines: Sequence[str] = (),
    call: bool = False,
    call_to: str = "",
) -> Examination:
    """Make all checks. ``values``: the settings as text; ``in_file``: those of them that ``env_file`` sets;
    ``bad_lines``: why it can't be read. ``call``: also place a simulated test call; ``call_to``: also have Twilio ring
    this number. Never raises."""
    config, read = settings.read(values, bad_lines)
    checks = (*CHECKS, *((CALL,) if call else ()), *((REAL_CALL,) if call_to else ()))
    if config is None:
        rest = [hidden(check, settings.NAME, settings.TITLE) for check in checks]
        return Examination(None, (read, *rest))
    config = settings.with_kept_token(config)
    case = Case(config=config, world=world, values=values, env_file=env_file, in_file=in_file or {}, call_to=call_to)
    results = await run(checks, case)
    by_name = {result.name: result for result in results}
    is_up = any(by_name[name].status is not Status.WRONG for name in ("port.443", "backend.alive"))
    return Examination(config.base_url, (read, *results), is_up, tuple(case.parts))
