from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from messaging.errors import InvalidArgumentError
from workers.providers.fcm_credentials import ServiceAccount


@pytest.fixture(scope="module")
def info() -> dict[str, Any]:
    """A service account file with a key made for this run."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return {
        "type": "service_account",
        "project_id": "demo",
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "client_email": "sender@demo.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    }


def test_a_service_account_is_taken_as_text_or_mapping(info: dict[str, Any]) -> None:
    """Both are the same account and share one token; another token endpoint has a token of its own."""
    mapping = ServiceAccount(info, token_endpoint=None, ca_file=None)
    text = ServiceAccount(json.dumps(info), token_endpoint=None, ca_file=None)
    elsewhere = ServiceAccount(info, token_endpoint="http://127.0.0.1:1/token", ca_file=None)
    assert mapping.project_id == "demo"
    assert mapping.token_key == text.token_key != elsewhere.token_key


@pytest.mark.parametrize("missing", ["type", "project_id", "private_key", "client_email", "token_uri"])
def test_an_incomplete_service_account_is_named(info: dict[str, Any], missing: str) -> None:
    """Each part that is needed raises with the credential's name when it is absent."""
    with pytest.raises(InvalidArgumentError, match="serviceAccountJSON"):
        ServiceAccount({k: v for k, v in info.items() if k != missing}, token_endpoint=None, ca_file=None)


@pytest.mark.parametrize("given", [None, "{", "[]", 5])
def test_what_is_no_service_account_is_named(given: object) -> None:
    """Text that is not JSON, and values that are no object, are refused."""
    with pytest.raises(InvalidArgumentError, match="serviceAccountJSON"):
        ServiceAccount(given, token_endpoint=None, ca_file=None)
