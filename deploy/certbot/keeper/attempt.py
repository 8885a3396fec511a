"""One attempt to have a certificate issued and published: however it ends, the next one comes when it should."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from keeper.acme.certbot import Certbot
from keeper.errors import IssueError, KeeperError, LimitError, PreflightError, PublishError, RehearsalError
from keeper.keeper import Keeper
from keeper.ladder import MINUTES, Ladder

#: While a served certificate comes to its end, it is tried so many times at least, but not more often than this.
TRIES_LEFT: Final = 8
SHORTEST_WAIT_AT_THE_END: Final = 15 * MINUTES


@contextlib.contextmanager
def attempt(
    keeper: Keeper,
    certbot: Certbot,
    *,
    interrupted: str,
    told: Callable[[KeeperError, Ladder], None] | None = None,
    anyway: bool = False,
) -> Iterator[None]:
    """Wrap one attempt.

    Until it succeeds, it is saved as a failure with the text ``interrupted``: however this process ends, nothing asks
    the authority again at once. If it fails, ``told`` is called with the error and the next due time. Raises
    `PublishError` if the state can't be saved, unless the attempt is to be made ``anyway``.
    """
    before, now = keeper.recall(), keeper.clock()
    since = before.failing_since if 0 < before.failing_since <= now else now  # the clock may have been wrong
    begun = replace(before, ladder=before.ladder.failed(now), failure=interrupted, failing_since=since)
    if not keeper.remember(begun) and not anyway:
        raise PublishError("the authority is not asked while CERTBOT_STATE can't be written: make room on its disk")
    try:
        yield
        if wanting := keeper.wanting(certbot):
            kept = certbot.certificate()
            keeper.remember(replace(keeper.recall(), faulty=kept.serial_hex if kept else ""))
            raise IssueError(f"certbot was done, but {wanting}: see letsencrypt.log in the certbot volume")
    except (PreflightError, PublishError, IssueError, LimitError, OSError) as error:
        ladder = _after(keeper, before.ladder, error)
        keeper.remember(replace(keeper.recall(), ladder=ladder, failure=str(error)))
        if told is not None and isinstance(error, KeeperError):
            told(error, ladder)
        raise
    kept = certbot.certificate()
    lifetime = kept.lifetime.total_seconds() if kept else 0.0
    ladder = before.ladder.succeeded(keeper.clock(), lifetime=lifetime, chance=keeper.chance())
    keeper.remember(replace(keeper.recall(), ladder=ladder, failure="", failing_since=0.0, faulty=""))


def _after(keeper: Keeper, ladder: Ladder, error: Exception) -> Ladder:
    """Return the ladder after a failure."""
    retry_at = error.retry_at if isinstance(error, IssueError | LimitError) else None
    is_local = isinstance(error, PreflightError | PublishError | RehearsalError | OSError)  # no limit was used
    has_others = len(keeper.settings.authorities) > 1
    failed = ladder.failed(keeper.clock(), local=is_local, retry_at=retry_at, others=has_others)
    return failed.not_later_than(_latest_try(keeper), now=keeper.clock())


def _latest_try(keeper: Keeper) -> float:
    """When to try again at the latest: while a certificate is served that ends soon, more often than once a day."""
    published, now = keeper.published.certificate(), keeper.clock()
    left = published.not_after.timestamp() - now if published else 0.0
    return now + max(left / TRIES_LEFT, SHORTEST_WAIT_AT_THE_END) if left > 0 else math.inf
