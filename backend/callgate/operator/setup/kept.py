"""The webhooks that numbers had before the set-up changed them, in a file beside .env, for ``setup.sh undo``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .private_file import draft_of
from .refusal import SetupRefused
from .webhooks import Webhooks

FILE: Final = ".callgate-number.json"


@dataclass(frozen=True, slots=True)
class Kept:
    """A number's webhooks, ``before`` and ``after`` the set-up changed them."""

    phone_number: str = field(repr=False)
    before: Webhooks
    after: Webhooks


class KeptNumbers:
    """The file with an entry for each changed number, by its SID."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Kept]:
        """Return all entries. Raises `SetupRefused` if the set-up did not write the file."""
        try:
            if not self.path.exists():
                return {}
            entries = json.loads(self.path.read_text())
            return {
                sid: Kept(
                    str(entry["phone_number"]), Webhooks.from_json(entry["before"]), Webhooks.from_json(entry["after"])
                )
                for sid, entry in entries.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            raise SetupRefused(
                str(self.path),
                found="a file that this script did not write, or that was changed since",
                wanted="the number's previous webhooks",
                do="move it away; if it still shows those webhooks, set them in the Twilio console",
            ) from exc

    def remember(self, sid: str, phone_number: str, *, found: Webhooks, after: Webhooks) -> None:
        """Record that the number is about to be changed from ``found`` to ``after``.

        If its calls still go where the set-up sent them, the recorded ``before`` is kept, whatever else was changed.
        """
        entries = self.read()
        known = entries.get(sid)
        before = known.before if known and found.leads_as(known.after) else found
        entries[sid] = Kept(phone_number, before, after)
        self._write(entries)

    def forget(self, sid: str) -> None:
        """Remove a number's entry, because its previous webhooks were restored."""
        entries = self.read()
        del entries[sid]
        if entries:
            self._write(entries)
        else:
            self.path.unlink()

    def _write(self, entries: dict[str, Kept]) -> None:
        document = {
            sid: {"phone_number": kept.phone_number, "before": kept.before.as_json(), "after": kept.after.as_json()}
            for sid, kept in entries.items()
        }
        with draft_of(self.path) as draft:
            draft.write_text(json.dumps(document, indent=2) + "\n")
