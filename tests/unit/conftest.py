import pytest
from support.conversation_driver import Call, greeted


@pytest.fixture
def call() -> Call:
    return Call()


@pytest.fixture
def talking(call: Call) -> Call:
    """Return a call whose greeting is over."""
    return greeted(call)
