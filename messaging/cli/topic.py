"""`messaging topic …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from messaging.channel import Channel
from messaging.cli.audited import noted
from messaging.cli.connection import connect
from messaging.cli.options import After, DataDir, Json, Limit, TopicId
from messaging.cli.output import note, print_fields, print_json, print_table
from messaging.cli.subscribe import HEADER, STRICT, import_file

app = typer.Typer(no_args_is_help=True)

_BAR = 40
"""Characters of the longest bar of a picture."""


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
        noted(messaging, "topic.create", topic.id)
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
        noted(messaging, "topic.delete", topic_id)
    note(f"Topic {topic_id} is gone.")


@app.command()
def update(
    topic_id: TopicId,
    *,
    name: Annotated[str | None, typer.Option("--name", help="Name for people.", show_default=False)] = None,
    description: Annotated[
        str | None, typer.Option("--description", help="What it is about.", show_default=False)
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Change a topic: what is named is replaced, the rest stays."""
    with connect(data_dir) as messaging:
        topic = messaging.topics.update(topic_id, name=name, description=description)
        noted(messaging, "topic.update", topic.id)
    if json:
        print_json(topic)
    else:
        note(f"Topic {topic.id} is changed.")


@app.command()
def subscribers(
    topic_id: TopicId, *, limit: Limit = 100, after: After = None, data_dir: DataDir = None, json: Json = False
) -> None:
    """List the subscribers of a topic, oldest first."""
    with connect(data_dir) as messaging:
        found = messaging.topics.subscribers(topic_id, after=after, limit=limit)
    if json:
        print_json(found)
        return
    print_table(
        ("ID", "TARGET", "CHANNEL", "ADDRESS", "USER", "NAME", "SINCE"),
        ((s.id, s.target_id, s.channel, s.target.identifier, s.user_id, s.user_name, s.created_at) for s in found),
        empty=f"No subscribers. Add some with `messaging subscribe {topic_id}`.",
    )
    if len(found) == limit:
        note(f"There may be more: --after {found[-1].id}")


@app.command()
def growth(
    topic_id: TopicId,
    *,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="So many days, today included.")] = 30,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show how a topic grew, by day (UTC). Who left since is not counted."""
    with connect(data_dir) as messaging:
        found = messaging.topics.growth(topic_id, days=days)
    if json:
        print_json(found)
        return
    most = max(1, *(each.subscribers for each in found))
    print_table(
        ("DAY", "JOINED", "SUBSCRIBERS", ""),
        ((each.day, each.joined, each.subscribers, "█" * (each.subscribers * _BAR // most)) for each in found),
        empty="",
    )


@app.command("import")
def import_(
    topic_id: TopicId,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help=HEADER)],
    *,
    strict: STRICT = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Subscribe everybody in a file; users and targets are made where they are missing."""
    import_file(topic_id, file, data_dir, strict=strict, json=json)
