"""No attack at all: what then fails is the siege's own fault."""

from __future__ import annotations

import asyncio

from ..attack import Assault, attack


@attack("nothing", "Nobody attacks: what this row shows is the siege's own share", from_same=True)
async def nothing(assault: Assault) -> None:
    await asyncio.sleep(assault.left)
