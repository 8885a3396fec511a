"""What outlives a process: the calls, and what was said in them. In a SQLite file, or on PostgreSQL.

records                          the values
store     the service's: journal, memory of a call, claims, upkeep
placements                       how many calls were placed lately, and under which keys
archive   people's: list, show, delete
journal ─ waiting                what waits to be written; bounded
queries ─ schema ─ migrations    statements and tables, for both databases alike
database ─ sqlite_or_postgres    connections, deadlines, faults; what differs between the two
"""

from .archive import Archive
from .journal import Journal, JournalLimits
from .records import CallRecord, Role, StoredCall, StoredMessage, StoredTurn
from .store import Store, StoreTimes

__all__ = [
    "Archive",
    "CallRecord",
    "Journal",
    "JournalLimits",
    "Role",
    "Store",
    "StoreTimes",
    "StoredCall",
    "StoredMessage",
    "StoredTurn",
]
