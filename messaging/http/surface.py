"""Every operation of the API: one line a subject."""

from __future__ import annotations

from messaging.http import topics
from messaging.http.operations import Operation

OPERATIONS: tuple[Operation, ...] = (*topics.operations,)
