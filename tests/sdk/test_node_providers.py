"""`node-appwrite`, as published: an account at every kind of provider it knows."""

from __future__ import annotations

import pytest

from tests.sdk.contract_calls import PROVIDERS
from tests.sdk.node import Node


@pytest.mark.parametrize("kind", sorted(PROVIDERS.keys() - {"appwrite"}))
def test_providers_of_every_kind_are_made_and_renamed(node: Node, kind: str) -> None:
    """This SDK knows all kinds but the newest."""
    spelling = {"apns": "APNS", "fcm": "FCM", "smtp": "SMTP"}.get(kind, kind.title())
    found = node.run(
        """
        const made = await messaging[`create${spelling}Provider`]({ providerId: kind, name: 'Mine', ...fields });
        const renamed = await messaging[`update${spelling}Provider`]({ providerId: kind, name: 'Ours' });
        const one = await messaging.getProvider({ providerId: kind });
        const list = await messaging.listProviders({
            queries: [Query.equal('name', 'Ours'), Query.equal('provider', kind)],
        });
        return { made, renamed, one, list };
        """,
        kind=kind,
        spelling=spelling,
        fields=dict(PROVIDERS[kind]),
    )
    assert (found["made"]["name"], found["renamed"]["name"]) == ("Mine", "Ours")
    assert found["made"]["provider"] == kind
    assert found["made"]["enabled"] is False
    assert [one["$id"] for one in found["list"]["providers"]] == [kind]
    assert isinstance(found["one"]["credentials"], dict)
    assert isinstance(found["one"]["options"], dict)


def test_a_provider_may_be_made_by_position(node: Node) -> None:
    """Under the older spelling of its method, too."""
    made = node.run("""
        return [
            await messaging.createSendgridProvider('mail', 'Mail', 'SG.key', 'Shop', 'news@shop.example'),
            await messaging.createFcmProvider('fcm-old', 'FCM'),
            await messaging.createSmtpProvider('smtp-old', 'SMTP', 'smtp.shop.example', 25),
        ];
    """)
    assert [provider["provider"] for provider in made] == ["sendgrid", "fcm", "smtp"]
    assert made[0]["options"]["fromEmail"] == "news@shop.example"
