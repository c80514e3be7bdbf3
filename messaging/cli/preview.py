"""`messaging preview …`: what a text would take and whom a message would reach, before it is sent."""

from __future__ import annotations

import unicodedata
from typing import Annotated

import typer

from messaging.channel import Channel
from messaging.cli.audience import parse_audience
from messaging.cli.connection import connect
from messaging.cli.options import DataDir, Json
from messaging.cli.output import print_json, print_table
from messaging.cli.send import To

app = typer.Typer(no_args_is_help=True)


@app.command()
def sms(content: Annotated[str, typer.Argument(help="The text.")], *, json: Json = False) -> None:
    """Show a text's encoding and the parts it is billed as; nothing is sent."""
    from messaging.content import parse_content
    from messaging.sms_segments import segments

    parse_content(Channel.SMS, {"content": content})  # refuses what `send` refuses
    found = segments(content)
    if json:
        print_json(found)
        return
    print_table(
        ("ENCODING", "CHARACTERS", "PARTS", "LEFT IN THE LAST", "NOT IN GSM-7"),
        [(found.encoding, found.characters, found.parts, found.left, ", ".join(map(_named, found.forcing)))],
        empty="",
    )


@app.command()
def audience(
    channel: Annotated[Channel, typer.Argument(help="push, email or sms.")],
    *,
    to: To,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Count about how many would get a message; nothing is sent. Who is in two topics counts twice."""
    named = parse_audience(to)
    with connect(data_dir) as messaging:
        found = messaging.messages.estimate(
            channel, users=named.users, targets=named.targets, topics=named.topics, addresses=named.addresses
        )
    if json:
        print_json({"channel": channel, "estimate": found})
    else:
        print(f"{found:,}")


def _named(character: str) -> str:
    return f"{character} (U+{ord(character):04X} {unicodedata.name(character, 'without a name')})"
