"""What every list takes beside `queries[]`."""

from __future__ import annotations

from messaging.http import parameters as p
from messaging.http.queries import LONGEST_SEARCH

SEARCH = p.text("search", shortest=0, longest=LONGEST_SEARCH, help="Text to look for.")
TOTAL = p.flag_in_query("total", default=True, help="`false`: do not count, `total` is 0.")
