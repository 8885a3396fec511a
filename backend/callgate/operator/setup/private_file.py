"""A file for its owner's eyes, which is there whole or not at all."""

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
    """A new, empty file beside ``path``, which takes its place if the block ends well. A link's target is replaced.

    Its mode is 0600; its owner that of the file, or where there is none of the folder, as root may be running this for
    another user. Raises `SetupRefused` where that can't be written.
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
            do=f"give this user the right to write in {target.parent}, and make room there",
        ) from exc


def _finish(draft: Path, target: Path) -> None:
    draft.chmod(PRIVATE)
    if os.geteuid() == 0:
        owner = (target if target.exists() else target.parent).stat()
        os.chown(draft, owner.st_uid, owner.st_gid)
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(draft, target)
