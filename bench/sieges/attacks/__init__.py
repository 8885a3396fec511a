"""The attacks, one module per kind. Importing this package registers all of them in `bench.sieges.attack.ATTACKS`."""

from . import (  # isort: skip
    nothing, bodies, upgrades, edge_answers, floods, slow, many, http2, replays, tricks,
)  # fmt: skip

__all__ = [
    "bodies", "edge_answers", "floods", "http2", "many", "nothing", "replays", "slow", "tricks", "upgrades",
]  # fmt: skip
