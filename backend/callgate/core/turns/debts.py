"""What the agent owes the caller. Pure.

A response covers the debts that arose before it began, and pays them when the caller hears it.
"""

from __future__ import annotations

from collections.abc import Collection

from .floor_table import Debt


class Debts:
    """What is owed on one floor, and what the response requested, or under way, covers of it."""

    def __init__(self) -> None:
        self._count = 0  # of all debts: each is numbered
        self._owed: dict[Debt, int] = {}  # the number of the latest of each kind
        self._covered: dict[Debt, int] = {}

    def __bool__(self) -> bool:
        return bool(self._owed)

    def __contains__(self, debt: Debt) -> bool:
        return debt in self._owed

    def is_only(self, debt: Debt) -> bool:
        """Whether nothing but this is owed."""
        return self._owed.keys() == {debt}

    def add(self, debt: Debt) -> None:
        """Something is owed from now on."""
        self._count += 1
        self._owed[debt] = self._count

    def clear(self) -> None:
        """Nothing is owed any more."""
        self._owed.clear()

    def drop(self, debt: Debt) -> None:
        """This is not owed any more."""
        self._owed.pop(debt, None)

    def cover(self, kinds: Collection[Debt] | None = None) -> list[Debt]:
        """A response covers what is owed of these kinds; None: all that is owed. Return the kinds."""
        covered = dict(self._owed) if kinds is None else dict.fromkeys(kinds, self._count)
        self._covered = covered
        return list(covered)

    def owed(self) -> dict[Debt, int]:
        """Return what is owed now, for `cover_those`."""
        return dict(self._owed)

    def cover_those(self, owed: dict[Debt, int]) -> list[Debt]:
        """A response covers what was owed then. Return the kinds."""
        self._covered = dict(owed)
        return list(owed)

    def cover_more(self, kinds: Collection[Debt]) -> None:
        """The response covers these kinds, too."""
        self._covered |= dict.fromkeys(kinds, self._count)

    def pay(self) -> bool:
        """The response is heard. Return whether it answers the caller's words."""
        paid = [debt for debt, number in self._owed.items() if number <= self._covered.get(debt, 0)]
        for debt in paid:
            del self._owed[debt]
        return Debt.WORDS in paid
