"""The tables. Integer keys inside, text ids outside; every row belongs to a project.

`batches` and `deliveries` are partitioned by the month in which their message's fan-out began and
are dropped a month at a time. No index of `deliveries` holds a column that changes, so that every
update of a delivery stays heap-only.
"""

from messaging.store.tables import care, console, files, ledger, messages, people, projects, providers, receipts
from messaging.store.tables.base import Base

__all__ = ["Base", "care", "console", "files", "ledger", "messages", "people", "projects", "providers", "receipts"]
