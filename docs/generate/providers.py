"""The page of provider kinds, from `messaging/catalog.py`."""

from __future__ import annotations

from docs.generate.markdown import code, codes, document, head, sentence, table
from messaging.catalog import OURS, Field, ProviderKind

_BEFORE = """\
Credentials and options by name, as `messaging provider add KIND --set NAME=VALUE`, `providers.create(KIND, NAME=VALUE)`
and the HTTP operations take them. [Providers](providers.md) says what each kind does with a message and how its
receipts come in; [a package of your own](../howto/add-a-provider.md) can bring a kind.
"""
_WORDS = {str: "text", int: "whole number", bool: "true or false", dict: "JSON object"}


def page() -> str:
    """The whole page."""
    overview = ((f"[`{kind.name}`](#{kind.name})", kind.channel, kind.title, _limits(kind)) for kind in OURS.values())
    return document(
        head("Kinds of provider", "messaging/catalog.py"),
        _BEFORE,
        table(("kind", "channel", "provider", "in one request, and in hand"), overview),
        *(part for kind in OURS.values() for part in _section(kind)),
    )


def _limits(kind: ProviderKind) -> str:
    if not kind.has_adapter:
        return "can be kept, and not used"
    rate = "" if kind.rate_per_s is None else f"; {kind.rate_per_s:,g} a second"
    return f"{kind.request_size:,}; {kind.concurrency:,} requests a process{rate}"


def _section(kind: ProviderKind) -> list[str]:
    about = [f"{kind.title}, {kind.channel}."]
    about += [kind.unavailable] if kind.unavailable else []
    about += [f"[The provider's page]({kind.documentation})."] if kind.documentation else []
    about += ["It reports later what became of a message."] if kind.has_receipts else []
    about += [f"Accounts with the same {codes(kind.app)} may stand in for each other."] if kind.app else []
    fields = [(each, "credential") for each in kind.credentials] + [(each, "option") for each in kind.options]
    rows = ((code(each.name), what, _type(each), _needed(each), sentence(each.help)) for each, what in fields)
    return [
        f"## {kind.name}\n",
        " ".join(about) + "\n",
        table(("name", "what it is", "type", "needed", "meaning"), rows) if fields else "",
    ]


def _type(field: Field) -> str:
    words = " or ".join(code(each) for each in field.choices) or _WORDS[field.type]
    if field.format is not None:
        words = {"email": "email address", "sender": "number or name", "hosts": "mail servers"}[field.format]
    if field.least is not None or field.most is not None:
        words += f", {field.least:,} to {field.most:,}"
    return words + (", secret" if field.secret else "")


def _needed(field: Field) -> str:
    if field.required:
        return "yes"
    if field.default in {None, ""}:
        return "no"
    return f"no: {code(str(field.default).lower() if isinstance(field.default, bool) else field.default)}"
