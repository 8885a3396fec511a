"""Every error that the keeper raises on purpose; str() is one line that an operator can act on.

KeeperError
├── UsageError          settings or options that can't work; nothing was tried
├── PreflightError      a problem found before the certificate authority was asked for anything
├── LimitError          a limit of the certificate authority that is used up, or must not be used up
├── IssueError          certbot failed; the text is the diagnosis
│   └── RehearsalError  … at the staging server
├── PublishError        the pair was refused by its checks, or can't be written
├── UnservedError       published, but nginx serves something else
│   └── NotOfferedError … because it was started before there was a second certificate
└── BusyError           another keeper is at work on this certificate
"""

from __future__ import annotations

from keeper.acme.problems import Start


class KeeperError(Exception):
    """The base of all errors raised on purpose."""


class UsageError(KeeperError):
    """Settings or options that can't work."""


class PreflightError(KeeperError):
    """Problems found before the authority was asked for anything."""


class LimitError(KeeperError):
    """A limit of the certificate authority. ``retry_at`` is Unix time, or None if it is not known."""

    def __init__(self, reason: str, retry_at: float | None = None) -> None:
        self.retry_at = retry_at
        super().__init__(reason)


class IssueError(KeeperError):
    """certbot did not get a certificate.

    ``retry_at``: when the authority said to retry (Unix time), or None. ``heals``: how certbot has to start to get past
    this by itself, or None if that would not help. ``is_bad_nonce``: asking again at once may help. ``is_servers``: it
    is the authority's trouble, or the way to it.
    """

    def __init__(
        self,
        reason: str,
        retry_at: float | None = None,
        *,
        heals: Start | None = None,
        is_bad_nonce: bool = False,
        is_servers: bool = False,
    ) -> None:
        self.retry_at = retry_at
        self.is_servers = is_servers
        self.heals = heals
        self.is_bad_nonce = is_bad_nonce
        super().__init__(reason)


class RehearsalError(IssueError):
    """A rehearsal failed. It counts against no limit that matters, so the next one may be soon."""


class PublishError(KeeperError):
    """The pair was not published; the one published before still is."""


class UnservedError(KeeperError):
    """What nginx serves is not what was published."""


class NotOfferedError(UnservedError):
    """nginx serves the first certificate, and knows of no second one."""


class BusyError(KeeperError):
    """Another keeper is at work on this certificate."""
