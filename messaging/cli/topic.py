"""`messaging topic …`."""

from __future__ import annotations

from typing import Annotated

import typer

from messaging.channel import Channel
from messaging.cli.connection import connect
from messaging.cli.options import After, DataDir, Json, Limit
from messaging.cli.output import note, print_fields, print_json, print_table

app = typer.Typer(no_args_is_help=True)

TopicId = Annotated[str, typer.Argument(help="Id of the topic.")]


@app.command()
def add(
    topic_id: Annotated[str | None, typer.Argument(help="Id; made up when left out.", show_default=False)] = None,
    *,
    name: Annotated[str | None, typer.Option("--name", help="Name for people; the id by default.")] = None,
    description: Annotated[str, typer.Option("--description", help="What it is about.")] = "",
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Add a topic."""
    with connect(data_dir) as messaging:
        topic = messaging.topics.create(topic_id, name=name or topic_id or "topic", description=description)
    if json:
        print_json(topic)
    else:
        print(topic.id)


@app.command("list")
def list_(
    *,
    search: Annotated[str | None, typer.Option("--search", help="In id, name and description.")] = None,
    limit: Limit = 100,
    after: After = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """List topics with their subscribers by channel."""
    with connect(data_dir) as messaging:
        found = messaging.topics.list(search=search, limit=limit, after=after)
    if json:
        print_json(found)
        return
    print_table(
        ("ID", "NAME", "PUSH", "EMAIL", "SMS"),
        ((t.id, t.name, *(t.totals[channel] for channel in Channel)) for t in found),
        empty="No topics. Add one with `messaging topic add`.",
    )


@app.command()
def show(topic_id: TopicId, *, data_dir: DataDir = None, json: Json = False) -> None:
    """Show a topic."""
    with connect(data_dir) as messaging:
        topic = messaging.topics.get(topic_id)
    if json:
        print_json(topic)
        return
    print_fields(
        {
            "id": topic.id,
            "name": topic.name,
            "description": topic.description,
            **{f"{channel} subscribers": total for channel, total in topic.totals.items()},
            "created": topic.created_at,
        }
    )


@app.command()
def delete(topic_id: TopicId, *, data_dir: DataDir = None) -> None:
    """Remove a topic and its subscriptions, not the targets."""
    with connect(data_dir) as messaging:
        messaging.topics.delete(topic_id)
    note(f"Topic {topic_id} is gone.")
