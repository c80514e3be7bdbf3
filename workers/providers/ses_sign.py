"""AWS Signature Version 4 of one request.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class AccessKey:
    """A key pair, and the region and service requests are signed for."""

    key_id: str
    secret: str = field(repr=False)
    region: str
    service: str = "ses"


def signed_headers(
    key: AccessKey, method: str, path: str, body: bytes, *, headers: Mapping[str, str], at: datetime
) -> dict[str, str]:
    """X-Amz-Date and Authorization for a request without a query.

    `path` as it goes on the wire. `headers` (`host` among them) are those that are signed besides the date. `at` is
    aware; AWS refuses it when more than five minutes off.
    """
    stamp = at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    covered = {name.lower(): " ".join(value.split()) for name, value in headers.items()} | {"x-amz-date": stamp}
    names = ";".join(sorted(covered))
    request = "\n".join(
        (
            method,
            quote(path, safe="/~"),  # once more than on the wire, as for every service but S3
            "",
            *(f"{name}:{covered[name]}" for name in sorted(covered)),
            "",
            names,
            sha256(body).hexdigest(),
        )
    )
    scope = f"{stamp[:8]}/{key.region}/{key.service}/aws4_request"
    to_sign = "\n".join((_ALGORITHM, stamp, scope, sha256(request.encode("utf-8")).hexdigest()))
    signing_key = f"AWS4{key.secret}".encode()
    for part in (stamp[:8], key.region, key.service, "aws4_request"):
        signing_key = hmac.digest(signing_key, part.encode("utf-8"), "sha256")
    signature = hmac.digest(signing_key, to_sign.encode("utf-8"), "sha256").hex()
    return {
        "x-amz-date": stamp,
        "authorization": f"{_ALGORITHM} Credential={key.key_id}/{scope}, SignedHeaders={names}, Signature={signature}",
    }
