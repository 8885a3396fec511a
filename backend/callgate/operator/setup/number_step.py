"""The steps ``number`` and ``undo``: where the Twilio number's calls go."""

from __future__ import annotations

from urllib.parse import urlsplit

from callgate.core.masking import mask_number

from .account import Account, Number
from .checks import check_service
from .kept import Kept
from .refusal import SetupRefused
from .settings import is_nobodys
from .setup import Setup
from .webhooks import Webhooks, wanted


def point_number(setup: Setup) -> bool:
    """The step ``number``. Whether the number was changed: only after it was shown, and confirmed."""
    setup.terminal.step("the number's webhooks")
    config = setup.settings.config()
    if is_nobodys(urlsplit(config.base_url).hostname or ""):
        raise SetupRefused("DOMAIN", found="it is not set", wanted="a domain of yours", do="scripts/setup.sh env")
    if config.twilio_phone_number is None:
        raise SetupRefused(
            "TWILIO_PHONE_NUMBER", found="it is not set", wanted="a number of the account", do="scripts/setup.sh env"
        )
    account = setup.account(config)
    number = account.number(config.twilio_phone_number)
    target = wanted(config.base_url, setup.fallback_url, proof=config.edge_proof)
    shown = mask_number(number.phone_number)
    if number.webhooks == target:
        setup.terminal.say(f"{shown} points here: nothing to change.")
        return False
    # A number that works elsewhere is not pointed to where nobody answers.
    setup.terminal.say(check_service(config.base_url, setup.outside))
    _show(setup, shown, number.webhooks, target)
    if not setup.terminal.confirm("Change the number so?"):
        setup.terminal.say("The number stays as it is.")
        return False
    setup.kept.remember(number.sid, number.phone_number, found=number.webhooks, after=target)
    account.point(number, target)
    setup.terminal.say(f"{shown} points here. scripts/setup.sh undo brings back what was before.")
    return True


def undo(setup: Setup) -> bool:
    """The step ``undo``: each number that the step ``number`` changed, back to where it pointed. Whether any was."""
    setup.terminal.step("the number's webhooks, as they were")
    entries = setup.kept.read()
    if not entries:
        setup.terminal.say("No number was changed by this script, or all are back: nothing to undo.")
        return False
    account = setup.account(setup.settings.config())
    restored = [_restore(setup, account, account.number_by_sid(sid), kept) for sid, kept in entries.items()]
    return any(restored)


def _restore(setup: Setup, account: Account, number: Number, kept: Kept) -> bool:
    shown = mask_number(number.phone_number)
    if number.webhooks == kept.before:
        setup.terminal.say(f"{shown} is back where it was: nothing to change.")
        setup.kept.forget(number.sid)
        return False
    _show(setup, shown, number.webhooks, kept.before)
    if number.webhooks != kept.after and setup.terminal.assume_yes:
        raise SetupRefused(
            shown,
            found="it was changed since, by somebody else",
            wanted="as this script left it",
            do="run it in a terminal without --yes, look at the change above, and decide",
        )
    if not setup.terminal.confirm("Change the number so?"):
        setup.terminal.say("The number stays as it is.")
        return False
    account.point(number, kept.before)
    setup.kept.forget(number.sid)
    setup.terminal.say(f"{shown} is back where it was.")
    return True


def _show(setup: Setup, number: str, old: Webhooks, new: Webhooks) -> None:
    setup.terminal.say(f"{number}:")
    for name, before, after in old.changes_to(new):
        setup.terminal.say(f"  {name:<22}  {before}\n  {'':<20}->  {after}")
