"""Authorities and certificates made while a test runs."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

_DAY = dt.timedelta(days=1)
_PEM = serialization.Encoding.PEM


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


@dataclass(frozen=True)
class Files:
    """PEM files of one certificate."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """A certificate authority of its own."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def made(cls, folder: Path) -> Self:
        """A new one whose files go to `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        key, name = ec.generate_private_key(ec.SECP256R1()), _name("an authority")
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - _DAY, now + _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
                    key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
                ),
                critical=True,
            )
            .sign(key, hashes.SHA256())
        )  # fmt: skip
        made = cls(folder, key, certificate)
        made.file.write_bytes(certificate.public_bytes(_PEM))
        return made

    @property
    def file(self) -> Path:
        """What clients trust."""
        return self.folder / "ca.pem"

    def server(self, *hosts: str, until: dt.timedelta = _DAY) -> Files:
        """A server's certificate for these host names and addresses; `until` from now, so a negative one ran out."""
        files = Files(self.folder / f"{hosts[0]}.pem", self.folder / f"{hosts[0]}.key")
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        names = [
            x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts
        ]
        certificate = (
            x509.CertificateBuilder(
                self.certificate.subject, _name(hosts[0]), key.public_key(), x509.random_serial_number(),
                now - 2 * _DAY, now + until,
            )
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )  # fmt: skip
        files.certificate.write_bytes(certificate.public_bytes(_PEM))
        files.key.write_bytes(_pem_of(key))
        files.key.chmod(0o600)
        return files


def signing_pair(
    folder: Path, name: str, *, begins: dt.timedelta = -_DAY, lasts: dt.timedelta = 2 * _DAY, bits: int = 2048
) -> Files:
    """A self-signed certificate and its RSA key, for signing tasks."""
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(folder / f"{name}.pem", folder / f"{name}.key")
    key = rsa.generate_private_key(65537, bits)
    starts = dt.datetime.now(dt.UTC) + begins
    certificate = x509.CertificateBuilder(
        _name(name), _name(name), key.public_key(), x509.random_serial_number(), starts, starts + lasts
    ).sign(key, hashes.SHA256())
    files.certificate.write_bytes(certificate.public_bytes(_PEM))
    files.key.write_bytes(_pem_of(key))
    return files
