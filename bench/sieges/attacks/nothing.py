"""No attack at all: any failure here is the siege's own."""

from __future__ import annotations

import asyncio

from ..attack import Assault, attack


@attack("nothing", "Nobody attacks: this row shows the siege's own effect", from_same=True)
async def nothing(assault: Assault) -> None:
    await asyncio.sleep(assault.left)
