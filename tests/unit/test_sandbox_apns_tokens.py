"""Apple's rules on provider tokens: signature, age, and how often they may change."""

from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from messaging.local.sandbox.apns_tokens import ProviderTokenError, ProviderTokens
from messaging.local.sandbox.keys import KeyFile, KeyRegistrationError, apns_key_name, check_p256, check_rsa

NOW = 1_700_000_000.0


class Clock:
    """A clock that stands until it is moved. PyJWT keeps its own time, so tokens are always issued in its past."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The clock of the checks."""
    return Clock()


@pytest.fixture
def key() -> ec.EllipticCurvePrivateKey:
    """A key made for this test."""
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def tokens(tmp_path: Path, clock: Clock, key: ec.EllipticCurvePrivateKey) -> ProviderTokens:
    """Checks that know the key as KEY0000001 of TEAM000001."""
    keys = KeyFile(tmp_path / "keys.json")
    keys.put(apns_key_name("TEAM000001", "KEY0000001"), public_pem(key))
    return ProviderTokens(keys, clock=clock)


def public_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """PEM text of the public half."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def header(key: ec.EllipticCurvePrivateKey, *, issued_at: float, key_id: str = "KEY0000001") -> bytes:
    """An authorization header."""
    token = jwt.encode({"iss": "TEAM000001", "iat": int(issued_at)}, key, "ES256", headers={"kid": key_id})
    return f"bearer {token}".encode()


def reason(tokens: ProviderTokens, authorization: bytes | None) -> tuple[int, str]:
    """How a token is refused."""
    with pytest.raises(ProviderTokenError) as caught:
        tokens.check(authorization)
    return caught.value.status, caught.value.reason


def test_a_signed_fresh_token_is_taken(tokens: ProviderTokens, key: ec.EllipticCurvePrivateKey) -> None:
    """The right key's signature opens the door, again and again."""
    authorization = header(key, issued_at=NOW)
    assert tokens.check(authorization).key_id == "KEY0000001"
    assert tokens.check(authorization).team_id == "TEAM000001"


def test_no_token_is_missing(tokens: ProviderTokens) -> None:
    """Without a bearer header Apple says MissingProviderToken."""
    assert reason(tokens, None) == (403, "MissingProviderToken")
    assert reason(tokens, b"basic abc") == (403, "MissingProviderToken")


def test_forgeries_are_invalid(tokens: ProviderTokens, key: ec.EllipticCurvePrivateKey) -> None:
    """Another key's signature, an unknown key id and plain nonsense are InvalidProviderToken."""
    stranger = ec.generate_private_key(ec.SECP256R1())
    assert reason(tokens, header(stranger, issued_at=NOW)) == (403, "InvalidProviderToken")
    assert reason(tokens, header(key, issued_at=NOW, key_id="KEY0000002")) == (403, "InvalidProviderToken")
    assert reason(tokens, b"bearer abc.def.ghi") == (403, "InvalidProviderToken")


def test_a_token_expires_after_an_hour(tokens: ProviderTokens, clock: Clock, key: ec.EllipticCurvePrivateKey) -> None:
    """A token that was good stops being so 60 minutes after it was issued."""
    authorization = header(key, issued_at=NOW)
    tokens.check(authorization)
    clock.now += 3599
    tokens.check(authorization)
    clock.now += 2
    assert reason(tokens, authorization) == (403, "ExpiredProviderToken")


def test_a_third_token_within_twenty_minutes_is_too_many(
    tokens: ProviderTokens, clock: Clock, key: ec.EllipticCurvePrivateKey
) -> None:
    """Two tokens of a key may be used side by side; a third must wait, and the first two go on working."""
    first, second, third = (header(key, issued_at=NOW - age) for age in (2, 1, 0))
    tokens.check(first)
    tokens.check(second)
    assert reason(tokens, third) == (429, "TooManyProviderTokenUpdates")
    tokens.check(first)
    clock.now += 20 * 60
    assert tokens.check(third).issued_at == NOW


def test_a_key_another_process_wrote_is_found(tmp_path: Path) -> None:
    """An unknown name makes the file be read again."""
    path = tmp_path / "keys.json"
    reader, writer = KeyFile(path), KeyFile(path)
    writer.put("a/b", "pem")
    assert reader.get("a/b") == "pem"
    assert reader.get("c/d") is None


def test_only_keys_of_the_right_kind_are_registered(key: ec.EllipticCurvePrivateKey) -> None:
    """APNs takes P-256, a service account RSA; text that is no key is refused, too."""
    assert check_p256(public_pem(key)) == public_pem(key)
    with pytest.raises(KeyRegistrationError, match="RSA"):
        check_rsa(public_pem(key))
    with pytest.raises(KeyRegistrationError, match="P-256"):
        check_p256(public_pem_of(ec.SECP384R1()))
    with pytest.raises(KeyRegistrationError, match="PEM"):
        check_p256("no key")


def public_pem_of(curve: ec.EllipticCurve) -> str:
    """PEM text of a fresh public key on this curve."""
    return public_pem(ec.generate_private_key(curve))
