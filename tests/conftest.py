import pytest
from hypothesis import settings
from support import inherited

settings.register_profile("callgate", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("callgate")


@pytest.fixture(scope="session", autouse=True)
def started_by_hand() -> None:
    """However the tests are started, they are the same. Not at import: then this would also change what the processes
    of pytest-xdist inherit, which must go on ignoring what they were told to."""
    inherited.start_afresh()
