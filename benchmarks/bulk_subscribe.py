"""Rows a second of a bulk subscription from CSV, beside a plain COPY of the same rows in the same run.

    python -m benchmarks.bulk_subscribe [--rows 100000] [--runs 3]

Three lists: addresses nobody has (targets and subscriptions are made), the same list again (everything
exists), and addresses of users nobody has (users are made besides).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator

from sqlalchemy import create_engine, text

from benchmarks.stack import SECRET, Servers, servers
from messaging import Messaging
from messaging.settings import sqlalchemy_url
from messaging.store import projects
from messaging.store.csv_rows import read_rows


def addresses(run: int, rows: int) -> Iterator[str]:
    """A file of email addresses."""
    yield "email"
    for number in range(rows):
        yield f"person{number}.{run}@example.com"


def people(run: int, rows: int) -> Iterator[str]:
    """A file of users with their email addresses."""
    yield "user_id,email,name"
    for number in range(rows):
        yield f"user-{run}-{number},user{number}.{run}@example.org,Person {number}"


def subscribed_per_s(client: Messaging, topic: str, lines: Iterator[str]) -> float:
    """Rows a second of one import into a new topic."""
    client.topics.create(topic, name=topic)
    channel, rows = read_rows(lines)
    result = client.topics.subscribe_many(topic, rows, channel=channel)
    assert result.created == result.rows
    return result.rows_per_s


def copied_per_s(found: Servers, rows: int) -> float:
    """The yardstick: the same addresses through COPY into a table without an index."""
    engine = create_engine(sqlalchemy_url(found.database_url))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS yardstick (line bigint, address text)"))
        started = time.perf_counter()
        cursor = connection.connection.cursor()
        with cursor.copy("COPY yardstick FROM STDIN") as copy:
            for number, address in enumerate(addresses(0, rows)):
                copy.write_row((number, address))
        connection.commit()
        wall = time.perf_counter() - started
    engine.dispose()
    return rows / wall


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with servers() as found:
        engine = create_engine(sqlalchemy_url(found.database_url))
        with engine.begin() as connection:
            projects.ensure(connection, "default")
        engine.dispose()
        with Messaging.connect(database_url=found.database_url, secret_key=SECRET) as client:
            figures: dict[str, list[float]] = {"new addresses": [], "the same again": [], "new users": [], "COPY": []}
            for run in range(arguments.runs):
                figures["COPY"].append(copied_per_s(found, arguments.rows))
                rows = arguments.rows
                figures["new addresses"].append(subscribed_per_s(client, f"a{run}", addresses(run, rows)))
                figures["the same again"].append(subscribed_per_s(client, f"b{run}", addresses(run, rows)))
                figures["new users"].append(subscribed_per_s(client, f"c{run}", people(run, rows)))
        yardstick = statistics.median(figures["COPY"])
        for name, values in figures.items():
            median = statistics.median(values)
            print(f"{name:<16}{median:>10,.0f} rows/s = {median / yardstick:.3f} of a plain COPY", flush=True)


if __name__ == "__main__":
    main()
