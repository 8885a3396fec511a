"""Files in ``DATA_DIR`` that this process can't use because they are another user's.

Such files are left by copies that were made as root, for example with `docker compose cp`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

MEND: Final = "run scripts/own-volumes.sh (without the bundle: chown it to that user)"


def of_another_user(paths: Iterable[Path]) -> str | None:
    """Return what is wrong with the first of these files that this user can't write, as "NAME belongs to …"; None if
    there is none. What does not exist is left out."""
    user = os.geteuid()
    for path in paths:
        try:
            owner = path.stat().st_uid
        except OSError:
            continue
        if owner != user and not os.access(path, os.W_OK):
            return f"{path} belongs to user {owner}, and this process, which is user {user}, can't write it"
    return None
