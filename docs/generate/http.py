"""The page of HTTP operations, from the operations the API is made of: what they check is what it says."""

from __future__ import annotations

from collections.abc import Iterable

from docs.generate.markdown import code, document, head, table
from messaging.http.models import MODELS
from messaging.http.openapi import TAGS
from messaging.http.operations import Operation
from messaging.http.reference_entries import Entry, Field, entry, model_fields
from messaging.http.surface import OPERATIONS

_BEFORE = """\
Every operation, below `/v1`. A running system shows the same with requests to copy under `/v1/docs`, and as OpenAPI 3.1
under `/v1/openapi.json`. [The HTTP API](http.md) says who may call, what is ours and where it differs from Appwrite's.

Any operation may answer 400 (a value is missing or refused; `message` names it) and 503 (the database does not answer;
nothing was changed). Other errors are listed with the operation.
"""
_EVERYWHERE = frozenset({400, 503})


def page() -> str:
    """The whole page."""
    tags = [tag for tag in TAGS if any(operation.tag == tag for operation in OPERATIONS)]
    return document(
        head("HTTP operations", "the operations in messaging/http"),
        _BEFORE,
        *(part for tag in tags for part in _of_tag(tag)),
        "## Models\n",
        *(part for name in sorted(MODELS, key=str.lower) for part in _model(name)),
    )


def _of_tag(tag: str) -> Iterable[str]:
    found: list[Operation] = sorted(
        (operation for operation in OPERATIONS if operation.tag == tag), key=lambda each: (each.path, each.method)
    )
    yield f"## {tag.capitalize()}\n"
    yield f"{TAGS[tag]}\n"
    for operation in found:
        yield from _operation(entry(operation))


def _operation(one: Entry) -> Iterable[str]:
    yield f"### {one.method} {one.path}\n"
    said = [f"{one.summary}.", *(text for text in one.description if text)]
    yield "\n\n".join(said) + "\n"
    answer = f"[`{one.model}`](#{one.model.lower()})" if one.model else one.answer
    others = ", ".join(str(status) for status, _ in one.errors if status not in _EVERYWHERE)
    yield f"Needs {one.needs}. Answers {one.status} with {answer}{f'; errors {others}' if others else ''}.\n"
    if one.fields:
        rows = (
            (code(each.name), each.place, each.kind, "yes" if each.required else "no", each.help) for each in one.fields
        )
        yield table(("name", "in", "type", "needed", "meaning"), rows)


def _model(name: str) -> Iterable[str]:
    fields: list[Field] = list(model_fields(MODELS[name]))
    yield f"### {name}\n"
    yield f"{MODELS[name].get('description', '')}\n"
    if fields:
        yield table(("field", "type", "meaning"), ((code(each.name), each.kind, each.help) for each in fields))
