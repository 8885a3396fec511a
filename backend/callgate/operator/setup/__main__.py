"""``python -m callgate.operator.setup``: what scripts/setup.sh runs."""

import sys

from .cli import main

sys.exit(main())
