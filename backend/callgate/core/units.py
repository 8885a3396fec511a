"""Units of time, so that numbers name their unit: ``5 * SECONDS``. Pure."""

from typing import Final

SECONDS: Final = 1.0
MINUTES: Final = 60.0
HOURS: Final = 3600.0
