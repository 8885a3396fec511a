"""The self-signed certificate for rehearsals, while there is no domain."""

from __future__ import annotations

import datetime
import os
import tempfile
from pathlib import Path

from keeper.keeper import Keeper
from keeper.pairs import self_signed


async def keep_self_signed(keeper: Keeper) -> None:
    """Publish a new one when it is due, and let clients here trust it. Raises `PublishError`."""
    now, name = keeper.clock(), keeper.settings.domain
    published = keeper.published.certificate()
    if published is None or not published.good_for(name, now) or published.is_due_at(now):
        with tempfile.TemporaryDirectory(prefix="callgate-self-signed-") as folder:
            pair = self_signed.make(name, datetime.datetime.fromtimestamp(now, datetime.UTC))
            (Path(folder) / "fullchain.pem").write_bytes(pair.fullchain)
            (Path(folder) / "privkey.pem").write_bytes(pair.privkey)
            await keeper.published.publish(Path(folder))
    _let_it_be_trusted(keeper)


def _let_it_be_trusted(keeper: Keeper) -> None:
    issuer = keeper.published.issuer_pem()
    trusted = keeper.settings.rehearsal / "ca.pem"
    if trusted.is_file() and trusted.read_bytes() == issuer:
        return
    trusted.parent.mkdir(parents=True, exist_ok=True)
    new = trusted.with_name("ca.pem.new")
    new.write_bytes(issuer)
    new.chmod(0o644)
    os.replace(new, trusted)
