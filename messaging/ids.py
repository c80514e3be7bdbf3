"""Public ids, and the names by which a delivery is known outside."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from datetime import date
from uuid import UUID

from messaging.errors import InvalidArgumentError

_VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,35}", re.ASCII)
_TAG = re.compile(r"d([0-9a-f]{1,3})-([0-9a-f]{1,16})-([0-9a-f]{1,16})", re.ASCII)
_EPOCH_YEAR = 2020


def new_id() -> str:
    """A fresh id, 20 hex characters that sort by time of making (as Appwrite's own)."""
    return f"{time.time_ns() // 1000:013x}{secrets.token_hex(4)[:7]}"


def is_valid_id(value: str) -> bool:
    """Whether `value` may be an id on the wire: 1 to 36 of A-Z a-z 0-9 . _ - and no leading . _ -."""
    return _VALID.fullmatch(value) is not None


def check_id(argument: str, value: str) -> str:
    """`value`, or `InvalidArgumentError` naming the argument."""
    if not is_valid_id(value):
        raise InvalidArgumentError(
            argument, "an id is 1 to 36 of A-Z a-z 0-9 . _ - and starts with a letter or a digit"
        )
    return value


def id_for_task(task_id: str) -> str:
    """The message id of a Celery task: the task id itself, or a stable stand-in where it is no valid id."""
    return (
        task_id if is_valid_id(task_id) else "t" + hashlib.sha256(task_id.encode("utf-8", "replace")).hexdigest()[:35]
    )


def delivery_tag(month: date, message: int, target: int) -> str:
    """The name of a delivery in requests and receipts; it leads back to the month, message and target."""
    return f"{delivery_tag_prefix(month, message)}{target:x}"


def delivery_tag_prefix(month: date, message: int) -> str:
    """What the tags of a message's deliveries begin with; the target's number in hexadecimal completes one."""
    return f"d{_month_number(month):x}-{message:x}-"


def parse_delivery_tag(tag: str) -> tuple[date, int, int] | None:
    """(month, message, target) of a tag, or None if it isn't one of ours."""
    found = _TAG.fullmatch(tag)
    if found is None:
        return None
    number, message, target = (int(part, 16) for part in found.groups())
    return date(_EPOCH_YEAR + number // 12, number % 12 + 1, 1), message, target


def delivery_uuid(month: date, message: int, target: int) -> UUID:
    """The same name as a UUID (version 8, RFC 9562): 12 bits of month, 48 of message, 48 of target."""
    bits = _month_number(month) << 96 | (message & 0xFFFF_FFFF_FFFF) << 48 | (target & 0xFFFF_FFFF_FFFF)
    # custom_a (48 bits) | version | custom_b (12 bits) | variant | custom_c (62 bits)
    high, middle, low = bits >> 74, bits >> 62 & 0xFFF, bits & (1 << 62) - 1
    return UUID(int=high << 80 | 0x8 << 76 | middle << 64 | 0b10 << 62 | low)


def delivery_uuid_prefix(month: date, message: int) -> str:
    """What the text of such UUIDs of a message begins with; 12 hexadecimal digits of a target's number complete one."""
    return str(delivery_uuid(month, message, 0))[:24]


def _month_number(month: date) -> int:
    return (month.year - _EPOCH_YEAR) * 12 + month.month - 1
