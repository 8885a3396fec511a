"""The steps ``number`` and ``undo``, which set and restore the Twilio number's webhooks."""

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
    """Run the step ``number``, which shows the change and asks first. Returns whether the number was changed."""
    setup.terminal.step("the number's webhooks")
    config = setup.settings.config()
    if is_nobodys(urlsplit(config.base_url).hostname or ""):
        raise SetupRefused("DOMAIN", found="it is not set", wanted="your own domain", do="run scripts/setup.sh env")
    if config.twilio_phone_number is None:
        raise SetupRefused(
            "TWILIO_PHONE_NUMBER",
            found="it is not set",
            wanted="a number of the account",
            do="run scripts/setup.sh env",
        )
    account = setup.account(config)
    number = account.number(config.twilio_phone_number)
    target = wanted(config.base_url, setup.fallback_url, proof=config.edge_proof)
    shown = mask_number(number.phone_number)
    if number.webhooks == target:
        setup.terminal.say(f"{shown} already points here: nothing to change.")
        return False
    # Don't take a number from a service that works before this one answers.
    setup.terminal.say(check_service(config.base_url, setup.outside))
    _show(setup, shown, number.webhooks, target)
    if not setup.terminal.confirm("Make this change?"):
        setup.terminal.say("The number stays as it is.")
        return False
    setup.kept.remember(number.sid, number.phone_number, found=number.webhooks, after=target)
    account.point(number, target)
    setup.terminal.say(f"{shown} now points here. To restore what it had before: scripts/setup.sh undo")
    return True


def undo(setup: Setup) -> bool:
    """Run the step ``undo``, which restores each number that ``number`` changed. Returns whether any was restored."""
    setup.terminal.step("the number's previous webhooks")
    entries = setup.kept.read()
    if not entries:
        setup.terminal.say("This script changed no number, or has restored all of them: nothing to undo.")
        return False
    account = setup.account(setup.settings.config())
    restored = [_restore(setup, account, account.number_by_sid(sid), kept) for sid, kept in entries.items()]
    return any(restored)


def _restore(setup: Setup, account: Account, number: Number, kept: Kept) -> bool:
    shown = mask_number(number.phone_number)
    if number.webhooks == kept.before:
        setup.terminal.say(f"{shown} already has its previous webhooks: nothing to change.")
        setup.kept.forget(number.sid)
        return False
    _show(setup, shown, number.webhooks, kept.before)
    if number.webhooks != kept.after and setup.terminal.assume_yes:
        raise SetupRefused(
            shown,
            found="somebody else has changed the number since",
            wanted="the webhooks that this script set",
            do="look at the change above; to make it, run this in a terminal without --yes",
        )
    if not setup.terminal.confirm("Make this change?"):
        setup.terminal.say("The number stays as it is.")
        return False
    account.point(number, kept.before)
    setup.kept.forget(number.sid)
    setup.terminal.say(f"{shown} has its previous webhooks again.")
    return True


def _show(setup: Setup, number: str, old: Webhooks, new: Webhooks) -> None:
    setup.terminal.say(f"{number}:")
    for name, before, after in old.changes_to(new):
        setup.terminal.say(f"  {name:<22}  {before}\n  {'':<20}->  {after}")
