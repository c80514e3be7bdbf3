"""Ids, and the names of deliveries outside."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.errors import InvalidArgumentError
from messaging.ids import check_id, delivery_tag, delivery_uuid, id_for_task, is_valid_id, new_id, parse_delivery_tag

months = st.dates(date(2020, 1, 1), date(2100, 12, 31)).map(lambda day: day.replace(day=1))
numbers = st.integers(1, 2**47)


def test_new_ids_are_valid_differ_and_sort_by_time() -> None:
    """Fresh ids are valid on the wire, all different, and later ones are not smaller but for their random tail."""
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(len(each) == 20 and is_valid_id(each) for each in ids)
    assert [each[:13] for each in ids] == sorted(each[:13] for each in ids)


@pytest.mark.parametrize("value", ["", "_a", ".a", "-a", "a" * 37, "a b", "a/b", "é", "a\n"])
def test_an_id_that_is_not_valid_on_the_wire_is_refused(value: str) -> None:
    """An id that is not valid on the wire is refused by the argument's name."""
    with pytest.raises(InvalidArgumentError, match="`user_id`"):
        check_id("user_id", value)


@given(st.text(min_size=1, max_size=80))
def test_every_task_id_has_one_message_id(task_id: str) -> None:
    """Any task id has a valid message id, the same each time; a valid one is its own."""
    message_id = id_for_task(task_id)
    assert is_valid_id(message_id)
    assert message_id == id_for_task(task_id)
    assert message_id == task_id or not is_valid_id(task_id)


@given(month=months, message=numbers, target=numbers)
def test_a_tag_leads_back_to_its_delivery(month: date, message: int, target: int) -> None:
    """A tag leads back to the month, the message and the target."""
    assert parse_delivery_tag(delivery_tag(month, message, target)) == (month, message, target)


@pytest.mark.parametrize("tag", ["", "d", "d1-2", "x1-2-3", "d1-2-3-4", "d!-2-3", "<d1-2-3@example.com>"])
def test_what_is_no_tag_leads_nowhere(tag: str) -> None:
    """A tag that is not ours leads nowhere."""
    assert parse_delivery_tag(tag) is None


@given(a=st.tuples(months, numbers, numbers), b=st.tuples(months, numbers, numbers))
def test_deliveries_have_different_uuids_of_version_8(a: tuple[date, int, int], b: tuple[date, int, int]) -> None:
    """A delivery's UUID is its own, of version 8 and the variant of RFC 9562."""
    one = delivery_uuid(*a)
    assert one.version == 8
    assert one.variant == "specified in RFC 4122"
    assert (one == delivery_uuid(*b)) == (a == b)
