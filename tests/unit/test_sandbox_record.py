"""The sandbox's record: what is on file, when, and the sums over it."""

import json
from pathlib import Path

from messaging.local.sandbox.record import Outcome, Record, select


def lines(path: Path) -> list[dict[str, object]]:
    """What stands in the file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def accept(record: Record, recipient: str, *, tag: str | None = None, payload: str = "{}") -> None:
    """One accepted push."""
    record.append("apns", recipient, outcome=Outcome.ACCEPTED, status=200, tag=tag, payload=payload)


def test_a_line_says_what_arrived(tmp_path: Path) -> None:
    """A flushed line has when, who, what became of it, and the content."""
    with Record(tmp_path / "record.jsonl", clock=lambda: 1700000000.25) as record:
        record.append(
            "fcm", 'tok"en\n', outcome=Outcome.REFUSED, status=404, code="UNREGISTERED", provider_id="p/1", tag="t",
            payload='{"a": "ü"}', about='{"x": 1}',
        )  # fmt: skip
        record.flush()
        assert lines(record.path) == [
            {
                "at": 1700000000.25,
                "protocol": "fcm",
                "recipient": 'tok"en\n',
                "outcome": "refused",
                "status": 404,
                "code": "UNREGISTERED",
                "id": "p/1",
                "tag": "t",
                "about": {"x": 1},
                "payload": {"a": "ü"},
            }
        ]


def test_doubled_is_one_recipient_with_one_tag_accepted_twice(tmp_path: Path) -> None:
    """Two messages to one recipient are no double; one message accepted three times is one double, two too many."""
    with Record(tmp_path / "record.jsonl") as record:
        accept(record, "a", tag="1")
        accept(record, "a", tag="2")
        assert (record.counts()["apns"].doubled, record.counts()["apns"].surplus) == (0, 0)
        accept(record, "a", tag="1")
        accept(record, "a", tag="1")
        counts = record.counts()["apns"]
    assert (counts.accepted, counts.unique_recipients, counts.doubled, counts.surplus) == (4, 1, 1, 2)


def test_without_a_tag_the_content_tells_doubles_apart(tmp_path: Path) -> None:
    """A caller that gives no tag is judged by what it sent."""
    with Record(tmp_path / "record.jsonl") as record:
        accept(record, "a", payload='{"m": 1}')
        accept(record, "a", payload='{"m": 2}')
        assert record.counts()["apns"].doubled == 0
        accept(record, "a", payload='{"m": 2}')
        assert record.counts()["apns"].doubled == 1


def test_refusals_and_silence_are_counted_apart(tmp_path: Path) -> None:
    """What wasn't accepted makes neither a recipient nor a double."""
    with Record(tmp_path / "record.jsonl") as record:
        for outcome in (Outcome.REFUSED, Outcome.REFUSED, Outcome.UNANSWERED):
            record.append("smtp", "a@b", outcome=outcome, status=550)
        counts = record.counts()["smtp"]
    assert (counts.accepted, counts.refused, counts.unanswered) == (0, 2, 1)
    assert (counts.unique_recipients, counts.doubled) == (0, 0)


def test_a_second_run_carries_on_with_the_sums(tmp_path: Path) -> None:
    """Opened again, the record knows what the file holds, doubles over the restart included."""
    path = tmp_path / "record.jsonl"
    with Record(path) as record:
        accept(record, "a", tag="1")
        accept(record, "b", payload='{"x": [1, "ü"]}')
    with Record(path) as record:
        assert record.counts()["apns"].accepted == 2
        accept(record, "a", tag="1")
        accept(record, "b", payload='{"x": [1, "ü"]}')
        assert record.counts()["apns"].doubled == 2
        assert len(list(record.recent())) == 4


def test_a_line_torn_by_a_crash_is_removed(tmp_path: Path) -> None:
    """Half a line at the end of the file goes; the lines before it stay."""
    path = tmp_path / "record.jsonl"
    with Record(path) as record:
        accept(record, "a")
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"at": 17' + b"x" * 200_000)
    with Record(path) as record:
        assert record.counts()["apns"].accepted == 1
    assert path.read_bytes() == whole


def test_lines_are_selected_by_protocol_and_time(tmp_path: Path) -> None:
    """`select` gives the lines of one protocol from a moment on."""
    moments = iter([10.0, 20.0, 30.0])
    with Record(tmp_path / "record.jsonl", clock=lambda: next(moments)) as record:
        accept(record, "early")
        record.append("smtp", "a@b", outcome=Outcome.ACCEPTED, status=250)
        accept(record, "late")
        record.flush()
        found = [json.loads(line)["recipient"] for line in select(record.path, protocol="apns", since=20)]
        assert found == ["late"]
        assert len(list(select(record.path))) == 3
