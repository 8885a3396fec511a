"""Verifies by a handshake that nginx serves what was published, and remembers the answer."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from keeper.errors import NotOfferedError, UnservedError
from keeper.keeper import EDGE_TIMEOUT, Keeper
from keeper.pairs import served
from keeper.pairs.certificate import Certificate

log: Final = logging.getLogger("keeper")


async def confirm(keeper: Keeper) -> Certificate | None:
    """Verify that the published certificate is served, and return it. Raises `UnservedError`.

    None: it is the second one, and nginx was started when there was none yet. That is no failure: nginx serves the
    first one, and somebody has to choose when to start it again.
    """
    published = keeper.published.certificate()
    name, edge = keeper.settings.domain, keeper.settings.edge
    try:
        if published is None:
            raise UnservedError(f"no certificate is published for {name}")
        if not await served.accepts_connections(edge, EDGE_TIMEOUT):
            raise UnservedError(f"nothing listens at {edge}: start nginx, and look at its log")
        other = keeper.first.published.certificate() if keeper.first else None
        await served.confirm(edge, name, published, other, timeout=keeper.patience)
    except NotOfferedError as error:
        if str(error) != keeper.recall().not_offered:
            log.warning("%s", error)
        _remember(keeper, not_offered=str(error))
        return None
    except UnservedError as error:
        keeper.remember(replace(keeper.recall(), unserved=str(error)))
        raise
    _remember(keeper, offered=published.serial_hex)
    return published


def _remember(keeper: Keeper, *, not_offered: str = "", offered: str = "") -> None:
    before = keeper.recall()
    after = replace(before, unserved="", not_offered=not_offered, offered=offered if keeper.first else "")
    if after != before:
        keeper.remember(after)
