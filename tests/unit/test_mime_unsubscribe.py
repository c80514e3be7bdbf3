"""Bulk mail through a provider that writes the message itself carries the same unsubscribe headers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from messaging.message import Email
from tests.unit.test_sendgrid import captured, recipients

_URL = "https://mail.example.org/v1/unsubscribe/"


def test_every_reader_gets_an_address_of_its_own() -> None:
    """In the headers of its personalization, next to its Message-ID."""
    to = [replace(one, unsubscribe_url=f"{_URL}{one.tag}") for one in recipients("ann@example.com", "bob@example.com")]
    (body,) = captured(to)
    for one, person in zip(to, body["personalizations"], strict=True):
        assert person["headers"] == {
            "Message-ID": f"<{one.tag}@example.org>",
            "List-Unsubscribe": f"<{_URL}{one.tag}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }


@pytest.mark.parametrize("name", ["List-Unsubscribe", "list-unsubscribe"])
def test_a_messages_own_header_is_not_replaced(name: str) -> None:
    """A personalization's header would win over the message's."""
    email = Email(subject="s", content="b", headers={name: "<mailto:leave@example.org>"})
    (one,) = recipients("ann@example.com")
    (body,) = captured([replace(one, unsubscribe_url=_URL)], email)
    assert body["headers"] == {name: "<mailto:leave@example.org>"}
    assert body["personalizations"][0]["headers"].keys() == {"Message-ID"}


def test_other_mail_has_none() -> None:
    """Without such an address."""
    (body,) = captured(recipients("ann@example.com"))
    assert body["personalizations"][0]["headers"].keys() == {"Message-ID"}
