"""When to try next. Pure: times are passed in, as Unix time in seconds.

Let's Encrypt's integration guide asks for retries after 1, 10 and 100 minutes, and then once a day
(https://letsencrypt.org/docs/integration-guide/#retrying-failures). The Retry-After of a 429 is followed too (RFC 8555,
section 6.6).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

MINUTES: Final = 60.0
HOURS: Final = 60 * MINUTES
DAYS: Final = 24 * HOURS

AFTER_FAILURES: Final = (1 * MINUTES, 10 * MINUTES, 100 * MINUTES, 1 * DAYS)
# For failures that were found here, without asking the authority: so a corrected DNS record is noticed soon.
AFTER_LOCAL_FAILURES: Final = AFTER_FAILURES[:2]

# A good certificate is checked at least twice a day, and a short-lived one (in tests: hours) 20 times in its lifetime.
LONGEST_CHECK_INTERVAL: Final = 12 * HOURS
SHORTEST_CHECK_INTERVAL: Final = 5.0
CHECKS_PER_LIFETIME: Final = 20
# The interval is shortened at random, by up to half, so that not all servers ask at the same time.
JITTER: Final = 0.5

# No limit of Let's Encrypt lasts longer than a week. A wait longer than this comes from a wrong clock.
LONGEST_WAIT: Final = 8 * DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """The number of consecutive failures, and when the next try is due."""

    failures: int = 0
    next_try: float = 0.0
    #: Set by the authority: it is not asked before this time, not even by hand.
    not_before: float = 0.0

    def due(self, now: float) -> bool:
        """Whether a try is due."""
        return now >= self.next_try or self.next_try - now > LONGEST_WAIT

    def forbidden(self, now: float) -> bool:
        """Whether the authority said not to ask it again yet."""
        return now < self.not_before <= now + LONGEST_WAIT

    def failed(self, now: float, *, local: bool = False, retry_at: float | None = None, others: bool = False) -> Ladder:
        """Add a failure. ``local``: the authority was not asked; ``retry_at``: its Retry-After, until which there is no
        other try, unless there are ``others`` to ask."""
        waits = AFTER_LOCAL_FAILURES if local else AFTER_FAILURES
        wait = waits[min(self.failures, len(waits) - 1)]
        not_before = self.not_before if retry_at is None else min(retry_at, now + LONGEST_WAIT)
        next_try = now + wait if others else max(now + wait, not_before)
        return Ladder(failures=self.failures + 1, next_try=next_try, not_before=not_before)

    def not_later_than(self, at: float, *, now: float) -> Ladder:
        """Try again at that time at the latest, but not before the authority allows it."""
        return replace(self, next_try=max(now, min(self.next_try, max(at, self.not_before))))

    def succeeded(self, now: float, *, lifetime: float, chance: float) -> Ladder:
        """Reset after a success, with the next check some time later. ``lifetime``: of the certificate, in seconds;
        ``chance``: from 0 up to 1, spreads the checks."""
        longest = min(LONGEST_CHECK_INTERVAL, lifetime / CHECKS_PER_LIFETIME)
        interval = max(longest * (1 - JITTER * chance), SHORTEST_CHECK_INTERVAL)
        return Ladder(next_try=now + interval)

    def at_once(self) -> Ladder:
        """Make the next try due now, or as soon as the authority allows."""
        return replace(self, next_try=self.not_before)
