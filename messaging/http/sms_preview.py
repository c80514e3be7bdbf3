"""What a text message would take, told before it is sent."""

from __future__ import annotations

from typing import Any

from messaging.content import LONGEST_CONTENT
from messaging.http import parameters as p
from messaging.http.operations import Call, Operations
from messaging.sms_segments import segments

operations = Operations("messaging")


@operations.add(
    "POST",
    "/messaging/messages/sms/preview",
    p.text("content", longest=LONGEST_CONTENT, required=True),
    scopes=("messages.read",),
    model="smsPreview",
    keyed=False,  # it changes nothing
)
def preview_sms(call: Call) -> dict[str, Any]:
    """A text's encoding and parts; nothing is sent."""
    found = segments(call["content"])
    return {
        "encoding": found.encoding,
        "parts": found.parts,
        "characters": found.characters,
        "units": found.units,
        "left": found.left,
        "forcing": list(found.forcing),
    }
