"""Write a file atomically, so that only its owner can read it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .refusal import SetupRefused

PRIVATE = 0o600


@contextlib.contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Create an empty file beside ``path``, which replaces it if the block succeeds. A link's target is replaced.

    The new file has mode 0600, and the owner of the old file, or of the folder if there is no old file, because root
    may be running this for another user. Raises `SetupRefused` if the file can't be written.
    """
    target = Path(os.path.realpath(path))
    try:
        handle, name = tempfile.mkstemp(prefix=f"{target.name}.", dir=target.parent)
        os.close(handle)
        draft = Path(name)
        try:
            yield draft
            _finish(draft, target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise SetupRefused(
            str(path),
            found=f"it can't be written ({exc.strerror})",
            wanted="a file of mode 0600",
            do=f"make sure that this user may write to {target.parent}, and that its disk is not full",
        ) from exc


def _finish(draft: Path, target: Path) -> None:
    draft.chmod(PRIVATE)
    if os.geteuid() == 0:
        owner = (target if target.exists() else target.parent).stat()
        os.chown(draft, owner.st_uid, owner.st_gid)
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(draft, target)
