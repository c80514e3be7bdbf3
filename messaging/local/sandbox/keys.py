"""Public keys that callers registered: APNs keys by team and key id, service accounts by client_email."""

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key


class KeyRegistrationError(ValueError):
    """A registered key can't be used: it isn't the PEM text of a public key of the kind the provider takes."""


class KeyFile:
    """PEM texts of public keys by name, kept in a JSON file so that they outlive the sandbox.

    Another process may add keys by writing the file: an unknown name makes it be read again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pems: dict[str, str] = {}
        self._read_at_ns = -1
        self._reload()

    def get(self, name: str) -> str | None:
        """The PEM text, or None for a name nobody registered."""
        if name not in self._pems:
            self._reload()
        return self._pems.get(name)

    def put(self, name: str, pem: str) -> None:
        """Register a key under a name, in place of a former one."""
        self._reload()
        self._pems[name] = pem
        temporary = self._path.with_suffix(".new")
        temporary.write_text(json.dumps(self._pems, indent=1))
        temporary.replace(self._path)
        self._read_at_ns = self._path.stat().st_mtime_ns

    def _reload(self) -> None:
        try:
            changed_ns = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if changed_ns != self._read_at_ns:
            self._pems.update(json.loads(self._path.read_text()))
            self._read_at_ns = changed_ns


def apns_key_name(team_id: str, key_id: str) -> str:
    """The name of an APNs key in its file."""
    return f"{team_id}/{key_id}"


def check_p256(pem: str) -> str:
    """The text given, if it is a public key on P-256; raises KeyRegistrationError otherwise."""
    key = _load(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyRegistrationError("public_key_pem is no P-256 key: APNs signs with ES256")
    return pem


def check_rsa(pem: str) -> str:
    """The text given, if it is an RSA public key; raises KeyRegistrationError otherwise."""
    if not isinstance(_load(pem), rsa.RSAPublicKey):
        raise KeyRegistrationError("public_key_pem is no RSA key: a service account signs with RS256")
    return pem


def _load(pem: str) -> object:
    try:
        return load_pem_public_key(pem.encode())
    except ValueError as error:
        raise KeyRegistrationError(f"public_key_pem can't be read ({error}): send the PEM text") from error
