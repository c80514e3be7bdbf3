"""Addresses have one spelling each."""

from __future__ import annotations

import re

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from messaging.address import LONGEST_TOKEN, normalise, normalise_email, normalise_phone
from messaging.channel import Channel
from messaging.errors import InvalidArgumentError

EMAIL, SMS, PUSH = Channel.EMAIL, Channel.SMS, Channel.PUSH


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Ada.Lovelace@Example.COM", "Ada.Lovelace@example.com"),
        ("  ada@example.org ", "ada@example.org"),
        ("ada@bücher.example", "ada@bücher.example"),
        ("ada@xn--bcher-kva.example", "ada@bücher.example"),
        ("o'neil+tag@mail.example.co.uk", "o'neil+tag@mail.example.co.uk"),
    ],
)
def test_an_email_address_keeps_its_local_part_and_lowers_its_domain(given: str, kept: str) -> None:
    """An email address keeps its local part, and its domain has one spelling."""
    assert normalise(EMAIL, given) == kept


@pytest.mark.parametrize(
    "given", ["", "ada", "ada@", "@example.com", "a b@example.com", "ada@@example.com", "ada@example.com\nBcc: x@y.zz"]
)
def test_what_is_no_email_address_is_refused_by_name(given: str) -> None:
    """What is no email address is refused, and the error names the argument."""
    with pytest.raises(InvalidArgumentError, match="Invalid `email`") as caught:
        normalise(EMAIL, given, argument="email")
    assert caught.value.argument == "email"


local = st.from_regex(r"[A-Za-z0-9_+.-]{1,70}", fullmatch=True)
domain = st.from_regex(r"([a-zA-Z0-9-]{1,8}\.){1,3}(com|DE|org|test|xn--p1ai|i)", fullmatch=True)


@given(local=local, domain=domain)
def test_the_short_cut_for_plain_addresses_agrees_with_the_library(local: str, domain: str) -> None:
    """The short cut for plain addresses says what email-validator says."""
    address = f"{local}@{domain}"
    try:
        expected = validate_email(address, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError:
        with pytest.raises(InvalidArgumentError):
            normalise_email(address)
    else:
        assert normalise_email(address) == expected


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("+49 30 123456", "+4930123456"),
        ("tel:+1-212-555-1234", "+12125551234"),
        ("+1 (500) 555-0006", "+15005550006"),
        ("+39 06 698 12345", "+390669812345"),
    ],
)
def test_a_phone_number_becomes_e164(given: str, kept: str) -> None:
    """A phone number is kept in E.164."""
    assert normalise(SMS, given) == kept


@pytest.mark.parametrize("given", ["", "030 123456", "+49", "+999 123 456 789", "+1 212 555", "letters"])
def test_a_phone_number_that_is_not_possible_is_refused(given: str) -> None:
    """A number without a country code, or of no possible length, is refused."""
    with pytest.raises(InvalidArgumentError, match="country code"):
        normalise_phone(given)


@pytest.mark.parametrize(
    "given",
    [
        "+1 253 0000",
        "+1 212 555 1234 ext. 5",
        "+12125551234;ext=5",
        "+49 123456789012345",
        "00493012345678",
        "+0123456",
    ],
)
def test_a_phone_number_no_text_could_be_sent_to_is_refused(given: str) -> None:
    """Dialled within its area only, behind an exchange, of more than 15 digits, or with a prefix instead of a plus."""
    with pytest.raises(InvalidArgumentError, match="country code"):
        normalise_phone(given)


@given(st.from_regex(r"\+?[0-9() .x/-]{3,24}", fullmatch=True))
def test_a_phone_number_is_e164_or_refused(number: str) -> None:
    """Whatever is written."""
    try:
        kept = normalise_phone(number)
    except InvalidArgumentError:
        return
    assert re.fullmatch(r"\+[1-9][0-9]{1,14}", kept)


def test_a_push_token_is_kept_as_it_is() -> None:
    """A push token is kept as it is, colons and all."""
    assert normalise(PUSH, "dQw4w9WgXcQ:APA91b_-x") == "dQw4w9WgXcQ:APA91b_-x"


@pytest.mark.parametrize("given", ["", "a b", "a\n", "a\x00b", "a\u2028b", "x" * (LONGEST_TOKEN + 1)])
def test_a_push_token_has_no_whitespace_and_an_end(given: str) -> None:
    """A push token is refused when empty, too long or with whitespace; the error does not repeat it."""
    with pytest.raises(InvalidArgumentError) as caught:
        normalise(PUSH, given)
    assert not given or given not in str(caught.value)


def test_an_apns_token_is_hexadecimal_in_lower_case() -> None:
    """One APNs device has one spelling."""
    assert normalise(PUSH, "AB" * 32, provider_kind="apns") == "ab" * 32
    with pytest.raises(InvalidArgumentError, match="hexadecimal"):
        normalise(PUSH, "xyz" * 20, provider_kind="apns")


@given(st.text(max_size=40))
def test_normalising_twice_changes_nothing(text: str) -> None:
    """Whatever is accepted is already in its one spelling the second time."""
    for channel in Channel:
        try:
            once = normalise(channel, text)
        except InvalidArgumentError:
            continue
        assert normalise(channel, once) == once


BROWSER = '{"endpoint": "https://push.example/abc", "expirationTime": null, "keys": {"auth": "aaa", "p256dh": "bbb"}}'


def test_a_browsers_subscription_has_one_spelling() -> None:
    """Whatever the blanks, the order and the time of its end: one subscription is one target."""
    found = normalise(Channel.PUSH, BROWSER, provider_kind="webpush")
    assert found == '{"endpoint":"https://push.example/abc","keys":{"p256dh":"bbb","auth":"aaa"}}'
    assert normalise(Channel.PUSH, found, provider_kind="webpush") == found


@pytest.mark.parametrize("wrong", ["token", "{}", "[]", '{"endpoint": "https://x"}', BROWSER.replace('"aaa"', "7")])
def test_what_is_no_subscription_is_refused_for_web_push(wrong: str) -> None:
    """With the form it should have."""
    with pytest.raises(InvalidArgumentError, match="PushSubscription"):
        normalise(Channel.PUSH, wrong, provider_kind="webpush")
