"""RabbitMQ as a broker whose queues may be of any type.

Celery asks for a prefetch limit over all consumers of a channel on RabbitMQ 3 unless a queue is declared as a quorum
queue, and a quorum queue refuses consumers under such a limit (540 NOT_IMPLEMENTED,
https://www.rabbitmq.com/docs/quorum-queues#global-qos). A limit per consumer suits every type and version, so ours has
that always, and what type a queue is need not be known.
"""

from __future__ import annotations

from kombu.transport import pyamqp


class Transport(pyamqp.Transport):
    """kombu's, with prefetch limits per consumer."""

    def qos_semantics_matches_spec(self, connection: object) -> bool:  # noqa: ARG002  kombu's signature
        """Yes: `basic.qos` without `global` is what we mean."""
        return True


class TlsTransport(pyamqp.SSLTransport):
    """The same over TLS."""

    def qos_semantics_matches_spec(self, connection: object) -> bool:  # noqa: ARG002  kombu's signature
        """See `Transport`."""
        return True
