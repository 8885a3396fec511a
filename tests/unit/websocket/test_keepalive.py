"""When a silent peer gets a ping, and when it is given up."""

import asyncio

from callgate.websocket.keepalive import Keepalive


class Peer:
    """A peer. ``answers`` is how many pings it answers. ``says`` is how often it sends something unprompted before
    that."""

    def __init__(self, answers: int, says: int = 0) -> None:
        self.heard, self.pings, self.is_over = False, 0, asyncio.Event()
        self._answers, self._says = answers, says
        self.keepalive = Keepalive(self.was_heard, self.ping, self.is_over.set, after=0.0, deadline=0.0)

    def was_heard(self) -> bool:
        heard, self.heard = self.heard, False
        if self._says:
            self._says -= 1
            return True
        return heard

    def ping(self) -> None:
        self.pings += 1
        self.heard = self.pings <= self._answers


async def test_a_peer_is_asked_until_it_does_not_answer():
    peer = Peer(answers=2)
    peer.keepalive.start()
    await asyncio.wait_for(peer.is_over.wait(), 5)
    assert peer.pings == 3


async def test_a_peer_that_is_heard_is_not_asked():
    peer = Peer(answers=0, says=3)
    peer.keepalive.start()
    await asyncio.wait_for(peer.is_over.wait(), 5)
    assert peer.pings == 1


async def test_nobody_is_asked_before_it_begins_or_after_it_was_stopped():
    peer = Peer(answers=0)
    peer.keepalive.stop()
    peer.keepalive.start()
    peer.keepalive.stop()
    other = Peer(answers=0)
    other.keepalive.start()
    await asyncio.wait_for(other.is_over.wait(), 5)
    assert (peer.pings, peer.is_over.is_set()) == (0, False)
