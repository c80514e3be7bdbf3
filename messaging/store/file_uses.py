"""Which unfinished messages use a file of a bucket: they are sent with it, so it stays until they are finished."""

from __future__ import annotations

import json

from sqlalchemy import Connection, text

from messaging.errors import ConflictError


def refuse_used(connection: Connection, project_id: int, bucket_id: str, file_id: str | None = None) -> None:
    """Raise `ConflictError` while an unfinished message uses that file, or any of the bucket without `file_id`.

    Drafts and scheduled messages count. Whoever deletes holds the file's row first; so does whoever uses it.
    """
    attached = {"bucketId": bucket_id} if file_id is None else {"bucketId": bucket_id, "fileId": file_id}
    # an image is kept as `bucket:file`, as the caller named it
    row = connection.execute(
        text(
            "SELECT public_id FROM messages WHERE project_id = :project AND finished_at IS NULL AND deleted_at IS NULL"
            " AND (content @> CAST(:attached AS jsonb) OR audience->>'image' = :image"
            "      OR (CAST(:whole AS boolean) AND split_part(audience->>'image', ':', 1) = :bucket)) LIMIT 1"
        ),
        {
            "project": project_id,
            "attached": json.dumps({"attachments": [attached]}),
            "image": f"{bucket_id}:{file_id}",
            "whole": file_id is None,
            "bucket": bucket_id,
        },
    ).one_or_none()
    if row is not None:
        what = f"A file of the bucket '{bucket_id}'" if file_id is None else f"The file '{file_id}'"
        raise ConflictError(
            f"{what} is used by the message '{row.public_id}', which is not finished. Wait until it is,"
            " or cancel or delete that message first."
        )
