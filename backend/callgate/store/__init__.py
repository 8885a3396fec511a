"""What outlives a process: the calls, and what was said in them. In a SQLite file, or on PostgreSQL.

records                          the values
store                            for the service: journal, memory of a call, claims, upkeep
archive                          for people: list, show, delete
placements                       how many calls were placed lately, and under which keys
journal ─ waiting                entries that wait to be written; bounded
queries ─ schema ─ migrations    statements and tables, the same for both databases
database ─ sqlite_or_postgres    connections, deadlines, faults; what differs between the databases
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
