"""What a page shows of a program's output is compared with what it printed, numbers and ids apart."""

from __future__ import annotations

from tests.docs.printed import missing

PRINTED = "id       660eb237a48d39c95de2\nstate    sent\ntotal    1,204\ncreated  2026-11-23 09:00:00\n"


def test_numbers_ids_and_times_may_differ() -> None:
    """They differ each time."""
    assert missing("id  0123456789abcdef0123\nstate  sent\ntotal  1\ncreated 2030-01-01 10:10:10", PRINTED) is None


def test_words_may_not() -> None:
    """They are what the reader looks for."""
    assert missing("state failed", PRINTED) == "state failed"


def test_lines_may_be_left_out_and_keep_their_order() -> None:
    """A page shows what matters."""
    assert missing("id …\n…\ntotal 3", PRINTED) is None
    assert missing("total 3\nstate sent", PRINTED) == "state sent"


def test_a_part_of_a_line_is_not_the_line() -> None:
    """Unless the page says that something is left out."""
    assert missing("state", PRINTED) == "state"
    assert missing("state …", PRINTED) is None
    assert missing("… sent\nto… 1", PRINTED) is None
    assert missing("created … 09:00:00 …", PRINTED) is None
    assert missing("created … sent", PRINTED) == "created … sent"
