"""Every request to Twilio follows its own OpenAPI description."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS30Validator

from tests.unit.provider_cases import NOW
from tests.unit.test_twilio import SID, form_of
from workers.providers.twilio import TwilioSettings

SETTINGS = {
    "number": TwilioSettings(SID, "token", "+15005550006"),
    "service": TwilioSettings(SID, "token", "MG" + "0" * 32),
    "callback": TwilioSettings(SID, "token", "Acme", "https://example.org/status"),
}


def validator(shared_dir: Path) -> OAS30Validator:
    """The validator of the form of POST Messages.json; unknown fields are errors."""
    document: dict[str, Any] = json.loads((shared_dir / "contracts/twilio_messages.openapi.json").read_text())
    path = next(path for path in document["paths"] if path.endswith("/Messages.json"))
    form = document["paths"][path]["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
    return OAS30Validator({"components": document["components"], **form, "additionalProperties": False})


def typed(form: dict[str, str]) -> dict[str, object]:
    """The form with the types its fields have in the description: everything in a form is text."""
    return form | {"ValidityPeriod": int(form["ValidityPeriod"])}


@pytest.mark.parametrize("name", list(SETTINGS))
def test_a_request_follows_the_description(name: str, shared_dir: Path) -> None:
    """From a number, from a messaging service, with and without a callback."""
    form = form_of(settings=SETTINGS[name], expires_at=NOW + timedelta(hours=72))
    assert not list(validator(shared_dir).iter_errors(typed(form)))


def test_the_description_finds_what_is_wrong(shared_dir: Path) -> None:
    """A misspelt field or a malformed service doesn't pass."""
    form = typed(form_of())
    assert list(validator(shared_dir).iter_errors(form | {"Validity": "1"}))
    assert list(validator(shared_dir).iter_errors(form | {"MessagingServiceSid": "MG1"}))
