import pytest
from hypothesis import settings
from support import inherited

settings.register_profile("callgate", deadline=None)  # a busy machine is not the code's fault
settings.load_profile("callgate")


@pytest.fixture(scope="session", autouse=True)
def started_by_hand() -> None:
    """Give the tests the same environment however they are started. This is not done at import, because pytest-xdist's
    processes would then no longer inherit the signals that they must go on ignoring."""
    inherited.start_afresh()
