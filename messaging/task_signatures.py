"""Signed tasks, for a broker that others can write to: who signed what, and whom we trust.

The form is Celery's own serializer `auth` (celery 5.7, celery/security), so a producer needs nothing of ours: base64 of
signer, signature (RSA-PSS over SHA-256), content type, encoding and body. Three things differ from Celery's way of
reading it. What was signed must be JSON: Celery would unpickle what any holder of a certificate signs. A certificate
that ran out is left alone instead of keeping the worker from starting. And a certificate is good for its project only.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Self

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from messaging.clock import clock
from messaging.errors import SettingsError
from messaging.settings import Settings

_log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/data"
"""What Celery calls a signed body."""
SERIALIZER = "auth"
"""And the serializer that makes it."""

_SEPARATOR = b"\x00\x01"
_FIELDS = 5
_JSON = b"application/json"
_SMALLEST_KEY_BITS = 2048
_LOOK_AGAIN_S = 10.0


class SignatureError(Exception):
    """The task is refused: its signature does not show that somebody trusted made it."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A body whose signature holds."""

    body: bytes
    """JSON."""
    own: bool
    """One of our own processes made it."""
    projects: frozenset[str]
    """Those its certificate may send for."""
    until: datetime
    """When the certificate runs out, and with it any copy of the task. Aware."""


@dataclass(frozen=True, slots=True)
class _Known:
    certificate: x509.Certificate
    key: rsa.RSAPublicKey
    own: bool
    projects: frozenset[str]


class Signer:
    """Signs with our own key."""

    def __init__(self, key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._name = _name_of(certificate).encode()

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """The signer of these settings; None where tasks are not signed. Raises `SettingsError`."""
        files = _files(settings)
        if files is None:
            return None
        _, key_file, certificate_file = files
        try:
            key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SettingsError(f"The key in {key_file} can't be read ({type(error).__name__}): give a PEM.") from error
        certificate = _certificates(certificate_file)[0]
        if not isinstance(key, rsa.RSAPrivateKey) or key.public_key() != certificate.public_key():
            raise SettingsError(f"{key_file} is not the RSA key of the first certificate in {certificate_file}.")
        return cls(key, certificate)

    def sign(self, body: bytes) -> bytes:
        """`body`, which is JSON, with our signature."""
        signature = self._key.sign(body, _padding(), SHA256())
        parts = (base64.b64encode(self._name), base64.b64encode(signature), _JSON, b"utf-8", body)
        return base64.b64encode(_SEPARATOR.join(parts))


class Trusted:
    """The certificates whose tasks are accepted: our own, and those of producers, by project.

    `directory` holds the default project's as `*.pem`, and those of every other project in a folder of its name. A file
    that is added or removed is noticed within ten seconds.
    """

    def __init__(
        self, directory: Path, own_file: Path, *, project: str, now: Callable[[], datetime] = clock.now
    ) -> None:
        self._directory = directory
        self._own_file = own_file
        self._project = project
        self._now = now
        self._loading = threading.Lock()
        self._loaded_s = time.monotonic()
        self._known = self._load()

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Those of these settings; None where tasks are not signed. Raises `SettingsError`."""
        files = _files(settings)
        if files is None:
            return None
        directory, _, own_file = files
        return cls(directory, own_file, project=settings.project)

    def open(self, data: bytes | str) -> Signed:
        """What was signed; raises `SignatureError`, whose text repeats nothing of the body."""
        name, signature, body = _unpacked(data)
        known = self._current().get(name)
        if known is None:
            raise SignatureError("the certificate it names is not among those trusted")
        until = known.certificate.not_valid_after_utc
        if not known.certificate.not_valid_before_utc <= self._now() <= until:
            raise SignatureError(
                f"its certificate is valid from {known.certificate.not_valid_before_utc} to {until} only"
            )
        try:
            known.key.verify(signature, body, _padding(), SHA256())
        except InvalidSignature:
            raise SignatureError("its signature is not that of its body") from None
        return Signed(body, known.own, known.projects, until)

    def _current(self) -> Mapping[str, _Known]:
        if time.monotonic() - self._loaded_s > _LOOK_AGAIN_S and self._loading.acquire(blocking=False):
            try:
                self._loaded_s = time.monotonic()
                self._known = self._load()
            except SettingsError as error:
                _log.error("The certificates for tasks can't be read anew; those known stay.", reason=str(error))
            finally:
                self._loading.release()
        return self._known

    def _load(self) -> Mapping[str, _Known]:
        if not self._directory.is_dir():
            raise SettingsError(f"{self._directory} is no folder: put the certificates of producers there.")
        found: dict[str, _Known] = {}
        for own in _certificates(self._own_file):
            _add(found, own, self._own_file, own=True)
        folders = sorted(each for each in self._directory.iterdir() if each.is_dir())
        for folder, project in ((self._directory, self._project), *((each, each.name) for each in folders)):
            for file in sorted(folder.glob("*.pem")):
                try:
                    for certificate in _certificates(file):
                        _add(found, certificate, file, project=project)
                except SettingsError as error:
                    _log.error("A certificate for tasks is left out.", reason=str(error))
        return found


def _add(
    found: dict[str, _Known],
    certificate: x509.Certificate,
    file: Path,
    *,
    own: bool = False,
    project: str | None = None,
) -> None:
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < _SMALLEST_KEY_BITS:
        raise SettingsError(
            f"The certificate in {file} has no RSA key of {_SMALLEST_KEY_BITS} bits or more: make another."
        )
    projects = frozenset(() if project is None else (project,))
    name = _name_of(certificate)
    before = found.get(name)
    if before is None:
        found[name] = _Known(certificate, key, own, projects)
    elif before.certificate == certificate:
        found[name] = replace(before, projects=before.projects | projects)
    else:
        raise SettingsError(
            f"The certificate in {file} has the issuer and number of another: make one with a new number."
        )


def _files(settings: Settings) -> tuple[Path, Path, Path] | None:
    directory, key, certificate = (
        settings.task_signing_certificates, settings.task_signing_key, settings.task_signing_certificate,
    )  # fmt: skip
    if directory is None and key is None and certificate is None:
        return None
    if directory is None or key is None or certificate is None:
        raise SettingsError(
            "Signed tasks need all of MESSAGING_TASK_SIGNING_CERTIFICATES, MESSAGING_TASK_SIGNING_KEY and"
            " MESSAGING_TASK_SIGNING_CERTIFICATE: set the missing ones, or none."
        )
    return directory, key, certificate


def _certificates(file: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"The certificate in {file} can't be read ({type(error).__name__}): give a PEM.") from error


def _name_of(certificate: x509.Certificate) -> str:
    """As Celery names it."""
    return f"{' '.join(str(part.value) for part in certificate.issuer)} {certificate.serial_number}"


def _unpacked(data: bytes | str) -> tuple[str, bytes, bytes]:
    """Name of the certificate, signature, and the JSON that was signed."""
    try:
        raw = base64.b64decode(data.encode("ascii") if isinstance(data, str) else data, validate=True)
        parts = raw.split(_SEPARATOR, _FIELDS - 1)
        name, signature = (base64.b64decode(part, validate=True) for part in parts[:2])
        _, _, content_type, encoding, body = parts
        readable = name.decode("utf-8")
    except ValueError:
        raise SignatureError("it is not in the form of Celery's serializer `auth`") from None
    if content_type != _JSON or encoding.lower() not in {b"utf-8", b"us-ascii"}:
        raise SignatureError("what was signed is not JSON; leave security's serializer as it is, json")
    return readable, signature, body


def _padding() -> padding.PSS:
    return padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=padding.PSS.MAX_LENGTH)
