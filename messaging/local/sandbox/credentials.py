"""Ready credentials for a running sandbox, made at run time, in the shape a provider is configured with."""

import base64
import secrets
import string
from typing import Any

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from messaging.local.sandbox.server import SandboxAddresses

_TIMEOUT_S = 10.0
_ID_LETTERS = string.ascii_uppercase + string.digits
_ID_LENGTH = 10


def apns_credentials(control_url: str, *, bundle_id: str = "com.example.app") -> dict[str, str]:
    """A fresh APNs key, registered: `authKey` (.p8 text), `authKeyId`, `teamId`, `bundleId`.

    Raises httpx.HTTPError when the control address doesn't take it.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    credentials = {
        "authKey": _private_pem(key),
        "authKeyId": _apple_id(),
        "teamId": _apple_id(),
        "bundleId": bundle_id,
    }
    _register(
        f"{control_url}/keys/apns",
        team_id=credentials["teamId"],
        key_id=credentials["authKeyId"],
        public_key_pem=_public_pem(key),
    )
    return credentials


def fcm_credentials(control_url: str, token_url: str, *, project_id: str = "sandbox-project") -> dict[str, Any]:
    """A fresh service account, registered: `serviceAccountJSON`, whose `token_uri` is the sandbox's.

    Raises httpx.HTTPError when the control address doesn't take it.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    client_email = f"sender-{secrets.token_hex(4)}@{project_id}.iam.gserviceaccount.com"
    _register(f"{control_url}/keys/fcm", client_email=client_email, public_key_pem=_public_pem(key))
    return {
        "serviceAccountJSON": {
            "type": "service_account",
            "project_id": project_id,
            "private_key_id": secrets.token_hex(20),
            "private_key": _private_pem(key),
            "client_email": client_email,
            "client_id": str(secrets.randbelow(10**21)),
            "token_uri": token_url,
            "universe_domain": "googleapis.com",
        }
    }


def sendgrid_credentials() -> dict[str, str]:
    """An `apiKey` the sandbox takes."""
    return {"apiKey": f"SG.{secrets.token_urlsafe(16)}.{secrets.token_urlsafe(32)}"}


def sendgrid_webhook_keys() -> tuple[str, str]:
    """What the event webhook is registered with (`key`, a private PEM), and the account's `webhookKey` for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return _private_pem(key), base64.b64encode(public).decode()


def twilio_credentials() -> dict[str, str]:
    """An `accountSid` and `authToken` the sandbox takes."""
    return {"accountSid": f"AC{secrets.token_hex(16)}", "authToken": secrets.token_hex(16)}


def smtp_credentials(addresses: SandboxAddresses) -> dict[str, Any]:
    """`host`, `port`, `username` and `password` of the plain listener, which offers STARTTLS."""
    host, _, port = addresses.smtp.rpartition(":")
    return {"host": host, "port": int(port), "username": "sandbox", "password": secrets.token_urlsafe(12)}


def _register(url: str, **body: str) -> None:
    # No proxy and no CA of the environment: this is loopback.
    with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
        client.post(url, json=body).raise_for_status()


def _apple_id() -> str:
    return "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))


def _private_pem(key: PrivateKeyTypes) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _public_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    public = key.public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
