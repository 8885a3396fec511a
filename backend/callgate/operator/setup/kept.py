"""Where numbers pointed before they pointed here: a file beside .env, for ``setup.sh undo``."""

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
    """Of one number: where it pointed ``before`` the set-up changed it, and where the set-up left it, ``after``."""

    phone_number: str = field(repr=False)
    before: Webhooks
    after: Webhooks


class KeptNumbers:
    """The file. Its entries are found by the number's SID."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Kept]:
        """All of them. Raises `SetupRefused` where the file is not one of ours."""
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
                found="a file that can't be read as what this script kept there",
                wanted="where the number pointed before",
                do="move it away; what it says of the number can be set by hand in the Twilio console",
            ) from exc

    def remember(self, sid: str, phone_number: str, *, found: Webhooks, after: Webhooks) -> None:
        """The number will be changed from ``found`` to ``after``.

        While its calls still come to where the set-up pointed it, what was before stays, whatever else was changed.
        """
        entries = self.read()
        known = entries.get(sid)
        before = known.before if known and found.leads_as(known.after) else found
        entries[sid] = Kept(phone_number, before, after)
        self._write(entries)

    def forget(self, sid: str) -> None:
        """The number is back where it was."""
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
