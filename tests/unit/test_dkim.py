"""DKIM signatures, against a verifier and a canonicalization this program did not write."""

import base64
import time
from collections.abc import Mapping
from email import message_from_bytes
from uuid import UUID

import dkim as oracle
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import example, given
from hypothesis import strategies as st

from messaging.channel import Role
from messaging.errors import SettingsError
from messaging.message import Attachment, Email
from tests.unit.test_mime import DATE, EXPIRES_AT, SENDER
from workers.providers.base import Outgoing, Recipient
from workers.providers.dkim import SIGNED, Signer, read_key, relaxed_body, relaxed_headers, signer_of
from workers.providers.mime import mailbox, render

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()
Key = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
EMAILS = {
    "text": Email(subject="Hello", content="there\n.\n..\n"),
    "trailing blanks and lines": Email(subject="  two  blanks ", content="a  b\t c \n \n\n\n"),
    "nothing": Email(subject="", content=""),
    "everything": Email(
        subject="Grüße " * 30,
        content="<p>Grüße</p>",
        html=True,
        attachments=(Attachment(filename="a.bin", content_type="application/x-a", content=bytes(range(256)) * 40),),
        reply_to_email="help@example.org",
        reply_to_name="Hülfe",
        headers={"X-Campaign": "one   two"},
    ),
}


def pem(key: Key | ec.EllipticCurvePrivateKey, *, password: bytes | None = None) -> str:
    """The key as an operator would paste it."""
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


def dns_record(key: Key) -> bytes:
    """What stands in the DNS for it."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return b"v=DKIM1; k=rsa; p=" + base64.b64encode(der)
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(raw)


def verifies(message: bytes, records: Mapping[str, bytes]) -> bool:
    """Whether the other implementation believes the signature."""
    return bool(oracle.verify(message, dnsfunc=lambda name, timeout=5: records.get(name.decode(), b"")))  # noqa: ARG005


def signed(email: Email, key: Key = RSA, *, name: str = "Ann Lee", address: str = "ann@example.com") -> bytes:
    """A copy with unsubscribe headers, as it goes on the wire."""
    template = render(Outgoing(message_id="m1", content=email, expires_at=EXPIRES_AT), SENDER)
    to = Recipient(
        target_id=1,
        address=address,
        tag="m1-t1",
        uuid=str(UUID(int=1)),
        name=name,
        unsubscribe_url="https://example.org/u/abc?x=1",
    )
    head = template.head(to, mailbox(address), DATE)
    return Signer("example.org", "s1", key).begin(template.common).header(head, time.time()) + head + template.common


RECORDS = {"s1._domainkey.example.org.": dns_record(RSA)}


@pytest.mark.parametrize("name", list(EMAILS))
@pytest.mark.parametrize("key", [RSA, ED25519], ids=["rsa", "ed25519"])
def test_a_signed_message_is_believed(name: str, key: Key) -> None:
    """Whatever it holds, with either kind of key."""
    assert verifies(signed(EMAILS[name], key), {"s1._domainkey.example.org.": dns_record(key)})


def test_a_signature_of_another_key_is_not_believed() -> None:
    """So the verifier of these tests looks."""
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert not verifies(signed(EMAILS["text"]), {"s1._domainkey.example.org.": dns_record(other)})


@pytest.mark.parametrize(
    ("header", "altered"),
    [
        (b"Subject: Hello", b"Subject: Hullo"),
        (b"From: Example News", b"From: Somebody Else"),
        (b"To: Ann Lee", b"To: Bob Lee"),
        (b"Message-ID: <m1", b"Message-ID: <m2"),
        (b"Date: Mon", b"Date: Tue"),
        (b"List-Unsubscribe: <https://example.org/u/abc", b"List-Unsubscribe: <https://example.net/u/abc"),
        (b"List-Unsubscribe=One-Click", b"List-Unsubscribe=Two-Click"),
        (b"\r\nthere", b"\r\nThere"),
        (b"From: Example", b"From: eve@example.net\r\nFrom: Example"),
    ],
)
def test_what_is_altered_under_way_is_noticed(header: bytes, altered: bytes) -> None:
    """Each header that matters is under the signature, the unsubscribe headers too, and no second From fits in."""
    message = signed(EMAILS["text"])
    assert header in message
    assert not verifies(message.replace(header, altered, 1), RECORDS)


def test_headers_that_relays_add_or_fold_do_no_harm() -> None:
    """Received lines, and other blanks in a long line."""
    message = signed(EMAILS["everything"])
    assert verifies(
        b"Received: by relay.example\r\n" + message.replace(b"To: Ann Lee ", b"To:  Ann\r\n  Lee "), RECORDS
    )


def test_the_headers_signed_are_those_there_are() -> None:
    """In one order, From once more at the end."""
    found = message_from_bytes(signed(EMAILS["everything"]))["dkim-signature"].replace("\r\n", "")
    names = found.partition(" h=")[2].partition(";")[0].strip().split(":")
    assert names == [*(name for name in SIGNED if name not in {"cc", "content-transfer-encoding"}), "from"]


def test_no_line_is_longer_than_mail_takes() -> None:
    """However long the key."""
    long_key = rsa.generate_private_key(public_exponent=65537, key_size=4096)
    head = signed(EMAILS["text"], long_key).partition(b"\r\nDate:")[0]
    assert all(len(line) <= 200 for line in head.split(b"\r\n"))
    assert b"\r\n\r\n" not in head


BODIES = st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n", b"b  c"]), max_size=12).map(b"".join)


@given(BODIES)
@example(b"")
@example(b"\r\n\r\n")
@example(b" \r\n\t\r\n")
def test_a_body_is_canonical_as_the_other_implementation_has_it(body: bytes) -> None:
    """Blanks and line ends in any order."""
    assert relaxed_body(body + b"\r\n") == oracle.canonicalization.Relaxed.canonicalize_body(body + b"\r\n")


@given(st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n ", b"\r\n\t", b"B", b": "]), max_size=12).map(b"".join))
def test_a_header_is_canonical_as_the_other_implementation_has_it(value: bytes) -> None:
    """Blanks and folds in any order."""
    [(_, canonical)] = oracle.canonicalization.Relaxed.canonicalize_headers([(b"X-Mixed", b" a" + value + b"\r\n")])
    assert relaxed_headers(b"X-Mixed: a" + value)["x-mixed"] == b"x-mixed:" + canonical.removesuffix(b"\r\n")


@pytest.mark.parametrize("key", [RSA, ED25519], ids=["rsa", "ed25519"])
def test_a_key_is_read_as_it_is_pasted(key: Key) -> None:
    """With line ends, or with backslash and n in their place, as in one line of a settings file."""
    for text in (pem(key), pem(key).replace("\n", "\\n"), f"\n{pem(key)}\n"):
        assert read_key(text).public_key() == key.public_key()


@pytest.mark.parametrize(
    ("credentials", "options", "named"),
    [
        ({"dkimKey": "hunter2"}, {"dkimSelector": "s1"}, "dkimKey can't be read"),
        ({"dkimKey": pem(RSA, password=b"x")}, {"dkimSelector": "s1"}, "dkimKey can't be read"),
        ({"dkimKey": pem(ec.generate_private_key(ec.SECP256R1()))}, {"dkimSelector": "s1"}, "neither RSA"),
        ({"dkimKey": pem(RSA)}, {}, "no dkimSelector"),
        ({"dkimKey": pem(RSA)}, {"dkimSelector": "a b"}, "no DNS name"),
        ({"dkimKey": pem(RSA)}, {"dkimSelector": "s1;t=y"}, "no DNS name"),
        ({"dkimKey": pem(RSA)}, {"dkimSelector": "s1", "dkimDomain": "a b"}, "no domain name"),
    ],
)
def test_what_cannot_sign_is_named_and_the_key_is_not_shown(
    credentials: Mapping[str, object], options: Mapping[str, object], named: str
) -> None:
    """When the account is opened, not with its first message."""
    with pytest.raises(SettingsError, match=named) as caught:
        signer_of(credentials, options, SENDER)
    assert "hunter2" not in str(caught.value)


def test_without_a_key_nothing_is_signed() -> None:
    """A selector alone changes nothing."""
    assert signer_of({}, {"dkimSelector": "s1"}, SENDER) is None


def test_the_domain_is_that_of_the_sender_unless_another_is_given() -> None:
    """Names in other letters go to the DNS in ASCII."""
    options = {"dkimSelector": "s1"}
    by_sender = signer_of({"dkimKey": pem(RSA)}, options, SENDER)
    given_one = signer_of({"dkimKey": pem(RSA)}, options | {"dkimDomain": "Bücher.example"}, SENDER)
    assert by_sender is not None
    assert given_one is not None
    assert (by_sender.domain, given_one.domain) == ("example.org", "xn--bcher-kva.example")


def test_the_key_does_not_print() -> None:
    """Settings end up in tracebacks."""
    assert "PrivateKey" not in repr(Signer("example.org", "s1", RSA))


def test_copies_of_cc_and_bcc_are_signed_too() -> None:
    """With the To line they show."""
    outgoing = Outgoing(
        message_id="m1",
        content=EMAILS["text"],
        expires_at=EXPIRES_AT,
        visible_to=("ann@example.com",),
        visible_cc=("carl@example.com",),
    )
    template = render(outgoing, SENDER)
    copy = Recipient(target_id=1, address="carl@example.com", tag="m1-t2", uuid=str(UUID(int=2)), role=Role.CC)
    head = template.head(copy, mailbox(copy.address), DATE)
    line = Signer("example.org", "s1", RSA).begin(template.common).header(head, time.time())
    assert verifies(line + head + template.common, RECORDS)
    assert b":cc:" in line
