"""An email carries files of a bucket; one that is gone is told, and never sent without."""

from __future__ import annotations

from messaging.message import Email
from messaging.producer import Accepted
from messaging.status import MessageState
from messaging.store import buckets, file_uploads, files, outgoing
from messaging.store.buckets import BucketSettings
from messaging.store.file_uploads import NewFile
from tests.integration.road import Road


def with_paper(road: Road) -> Accepted:
    """An email with a file of a bucket."""
    road.add_provider("mail", "sendgrid")
    with road.engine.begin() as connection:
        papers = buckets.create(connection, road.project_id, "papers", BucketSettings(name="Papers"))
        file_uploads.store(connection, papers, NewFile(id="one", name="one.pdf"), b"%PDF-1.7")
        paper = files.reference(connection, road.project_id, "papers:one")
    email = Email(subject="s", content="c", attachments=(paper,))
    return road.send(email, addresses=["ann@example.com"])


def test_the_file_leaves_with_the_email(road: Road) -> None:
    """Its bytes are read when it is sent."""
    sent = with_paper(road)
    assert sent.message_id is not None
    with road.engine.begin() as connection:
        content = outgoing.load(connection, sent.message_id).content
    assert isinstance(content, Email)
    (paper,) = content.attachments
    assert (paper.filename, paper.content_type, paper.content) == ("one.pdf", "application/pdf", b"%PDF-1.7")
    road.deliver()
    assert len(road.provider.received) == 1
    road.sweep()
    assert road.view(sent).state is MessageState.SENT


def test_an_email_whose_file_is_gone_fails_with_that_reason(road: Road) -> None:
    """Nobody receives it without the file."""
    sent = with_paper(road)
    road.execute("DELETE FROM files")
    road.deliver()
    road.sweep()
    assert road.provider.received == []
    assert road.view(sent).state is MessageState.FAILED
    (delivery,) = road.deliveries(sent)
    assert delivery.error_code == "attachment_gone"
    assert "one.pdf" in (delivery.error or "")
