"""What messages refer to: projects, keys, users, targets, topics, providers, files, the suppression list."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, text

from messaging.attachments import FileReference
from messaging.channel import Channel
from messaging.errors import ConflictError, InvalidArgumentError, NotFoundError, SettingsError
from messaging.local.bootstrap import first_project
from messaging.message import Attachment
from messaging.outcome import Action
from messaging.store import (
    addresses,
    api_keys,
    buckets,
    files,
    projects,
    provider_fields,
    provider_stops,
    providers,
    subscribers,
    suppressions,
    targets,
    topics,
    users,
)
from messaging.store.suppressions import Scope
from messaging.vault import Vault
from tests.integration.road import SECRET, Road

EMAIL, SMS, PUSH = Channel.EMAIL, Channel.SMS, Channel.PUSH
APNS = {"authKey": "very-secret", "authKeyId": "KEY4567890", "teamId": "TEAM567890", "bundleId": "com.example"}
VAULT = Vault(SECRET)


@pytest.fixture
def project(road: Road) -> int:
    """The number of an empty project."""
    return road.project_id


@pytest.fixture
def connection(road: Road) -> Iterator[Connection]:
    """A connection in a transaction that is rolled back."""
    with road.engine.connect() as opened:
        yield opened


class TestProjectsAndKeys:
    """Tenants and who may act for them."""

    def test_a_project_is_made_once(self, connection: Connection) -> None:
        """A project that exists is found again, and one that does not is named."""
        number = projects.ensure(connection, "shop")
        assert projects.ensure(connection, "shop") == number == projects.find(connection, "shop")
        with pytest.raises(NotFoundError, match="'none'"):
            projects.find(connection, "none")

    def test_a_key_is_known_by_its_secret_until_it_ends(self, connection: Connection, project: int) -> None:
        """A key is found by its secret, with or without the prefix, until it expires or is deleted."""
        key, secret = api_keys.create(connection, project, name="k", scopes=["messages.write"])
        found = api_keys.verify(connection, secret)
        assert found == key
        assert api_keys.verify(connection, secret.removeprefix(api_keys.PREFIX)) == key
        assert api_keys.verify(connection, secret[:-1] + "x") is None
        api_keys.delete(connection, project, key.id)
        assert api_keys.verify(connection, secret) is None
        _, old = api_keys.create(connection, project, name="k", expires_at=datetime.now(UTC) - timedelta(hours=1))
        assert api_keys.verify(connection, old) is None

    def test_no_secret_of_a_key_is_stored(self, connection: Connection, project: int) -> None:
        """The database holds nothing from which the secret could be read."""
        _, secret = api_keys.create(connection, project, name="k")
        row = connection.execute(text("SELECT api_keys::text FROM api_keys")).scalar_one()
        assert secret.removeprefix(api_keys.PREFIX) not in row

    def test_a_stack_gets_its_first_project_and_key(self, road: Road, postgres_url: str) -> None:
        """A stack that starts on an empty database gets a project and a key that opens it."""
        project_id, secret = first_project(postgres_url, SECRET)
        with road.engine.begin() as connection:
            found = api_keys.verify(connection, secret)
        assert found is not None
        assert (project_id, found.project_id) == ("default", "default")
        with pytest.raises(SettingsError):
            first_project(postgres_url, "short")


class TestUsers:
    """People, and their addresses as targets."""

    def test_a_user_s_addresses_are_targets(self, connection: Connection, project: int) -> None:
        """A new user's email and phone are targets at once, normalised."""
        user = users.create(connection, VAULT, project, user_id="ada", email="Ada@EXAMPLE.com", phone="+49 30 123456")
        assert (user.email, user.phone) == ("Ada@example.com", "+4930123456")
        found = targets.page(connection, project, user_id="ada")
        assert [(t.channel, t.identifier) for t in found] == [(EMAIL, "Ada@example.com"), (SMS, "+4930123456")]

    def test_a_new_address_takes_the_old_one_s_place(self, connection: Connection, project: int) -> None:
        """A changed email keeps its target and its topics; an address taken away takes its target along."""
        users.create(connection, VAULT, project, user_id="ada", email="a@example.com", phone="+4930123456")
        (target,) = targets.page(connection, project, channel=EMAIL)
        topics.create(connection, project, topic_id="news", name="News")
        subscribers.create(connection, project, topic_id="news", target_id=target.id)
        users.update(connection, VAULT, project, "ada", email="b@example.com", phone=None)
        (moved,) = targets.page(connection, project, user_id="ada")
        assert (moved.id, moved.identifier) == (target.id, "b@example.com")
        assert topics.get(connection, project, "news").totals[EMAIL] == 1

    def test_an_email_address_is_one_user_s(self, connection: Connection, project: int) -> None:
        """An email address of another user is refused, however it is spelt, and nothing is half made."""
        users.create(connection, VAULT, project, user_id="ada", email="a@example.com")
        with pytest.raises(ConflictError, match="another user"):
            users.create(connection, VAULT, project, user_id="bob", email="a@EXAMPLE.com")

    def test_a_raw_address_becomes_its_user_s(self, connection: Connection, project: int) -> None:
        """An address written to before it had a user becomes the user's: one address, one target."""
        (number,) = addresses.ensure_addresses(connection, VAULT, project, EMAIL, ["a@example.com"])
        users.create(connection, VAULT, project, user_id="ada", email="a@example.com")
        (target,) = targets.page(connection, project)
        assert targets.find(connection, project, target.id) == number
        assert target.user_id == "ada"

    def test_a_taken_id_and_an_unknown_one_are_named(self, connection: Connection, project: int) -> None:
        """Ids are unique; what does not exist is named."""
        users.create(connection, VAULT, project, user_id="ada")
        with pytest.raises(ConflictError, match="'ada'"):
            users.create(connection, VAULT, project, user_id="ada")
        with pytest.raises(NotFoundError, match="'bob'"):
            users.get(connection, project, "bob")

    def test_a_deleted_user_leaves_nothing_to_send_to(self, connection: Connection, project: int) -> None:
        """Deleting a user deletes the targets and subscriptions."""
        users.create(connection, VAULT, project, user_id="ada", email="a@example.com")
        users.delete(connection, VAULT, project, "ada")
        assert targets.page(connection, project) == []

    def test_users_are_paged_and_searched(self, connection: Connection, project: int) -> None:
        """A page goes on after the last user of the page before; search looks in every name of a user."""
        for number in range(5):
            users.create(connection, VAULT, project, user_id=f"u{number}", name=f"Name {number}")
        first = users.page(connection, project, limit=3)
        rest = users.page(connection, project, after=first[-1].id, limit=3)
        assert [user.id for user in (*first, *rest)] == [f"u{number}" for number in range(5)]
        assert [user.id for user in users.page(connection, project, search="name 3")] == ["u3"]

    def test_projects_do_not_see_each_other(self, connection: Connection, project: int) -> None:
        """The same id and address in another project are another user and target."""
        other = projects.ensure(connection, "other")
        for each in (project, other):
            users.create(connection, VAULT, each, user_id="ada", email="a@example.com")
        assert users.resolve(connection, project, ["ada"]) != users.resolve(connection, other, ["ada"])
        with pytest.raises(NotFoundError):
            targets.get(connection, other, targets.page(connection, project)[0].id)


class TestTargets:
    """One address, one target."""

    def test_a_device_that_signs_in_to_another_account_takes_its_token_along(
        self, connection: Connection, project: int
    ) -> None:
        """A token registered again moves to the new user, is alive, and leaves the other user's topics."""
        for user in ("ada", "bob"):
            users.create(connection, VAULT, project, user_id=user)
        first = targets.create(connection, VAULT, project, channel=PUSH, identifier="tok", user_id="ada")
        topics.create(connection, project, topic_id="news", name="News")
        subscribers.create(connection, project, topic_id="news", target_id=first.id)
        connection.execute(text("UPDATE targets SET dead_at = now(), expired_at = now(), registered_at = 'epoch'"))
        moved = targets.create(connection, VAULT, project, channel=PUSH, identifier="tok", user_id="bob")
        assert (moved.id, moved.user_id, moved.expired) == (first.id, "bob", False)
        assert moved.registered_at.year > 1970
        assert topics.get(connection, project, "news").totals[PUSH] == 0

    def test_registering_again_keeps_the_same_user_s_topics(self, connection: Connection, project: int) -> None:
        """An app that registers at each start keeps its subscriptions."""
        users.create(connection, VAULT, project, user_id="ada")
        target = targets.create(connection, VAULT, project, channel=PUSH, identifier="tok", user_id="ada")
        topics.create(connection, project, topic_id="news", name="News")
        subscribers.create(connection, project, topic_id="news", target_id=target.id)
        targets.create(connection, VAULT, project, channel=PUSH, identifier="tok", user_id="ada")
        assert topics.get(connection, project, "news").totals[PUSH] == 1

    def test_an_address_is_another_target_at_another_provider(self, connection: Connection, project: int) -> None:
        """A token belongs to a provider's app: the same one at another provider is another target."""
        providers.create(connection, VAULT, project, kind="apns", provider_id="ios", credentials=APNS)
        plain = targets.create(connection, VAULT, project, channel=PUSH, identifier="ab" * 32)
        ios = targets.create(connection, VAULT, project, channel=PUSH, identifier="AB" * 32, provider_id="ios")
        again = targets.create(connection, VAULT, project, channel=PUSH, identifier="ab" * 32, provider_id="ios")
        assert ios.id == again.id != plain.id

    def test_a_target_s_provider_is_of_its_channel(self, connection: Connection, project: int) -> None:
        """A target can't name a provider of another channel, nor an APNs one with a token that isn't hexadecimal."""
        providers.create(connection, VAULT, project, kind="apns", provider_id="ios", credentials=APNS)
        with pytest.raises(InvalidArgumentError, match="provider of push"):
            targets.create(connection, VAULT, project, channel=SMS, identifier="+4930123456", provider_id="ios")
        with pytest.raises(InvalidArgumentError, match="hexadecimal"):
            targets.create(connection, VAULT, project, channel=PUSH, identifier="token", provider_id="ios")

    def test_an_id_belongs_to_one_address(self, connection: Connection, project: int) -> None:
        """The id of another target is refused; the address's own new id is taken over."""
        targets.create(connection, VAULT, project, channel=PUSH, identifier="a", target_id="t1")
        with pytest.raises(ConflictError, match="'t1'"):
            targets.create(connection, VAULT, project, channel=PUSH, identifier="b", target_id="t1")
        assert targets.create(connection, VAULT, project, channel=PUSH, identifier="a", target_id="t2").id == "t2"

    def test_a_new_identifier_brings_a_target_back_to_life(self, connection: Connection, project: int) -> None:
        """Updating the identifier revives a dead target; another target's address is refused."""
        target = targets.create(connection, VAULT, project, channel=PUSH, identifier="a")
        targets.create(connection, VAULT, project, channel=PUSH, identifier="b")
        connection.execute(text("UPDATE targets SET dead_at = now()"))
        assert targets.get(connection, project, target.id).expired
        assert not targets.update(connection, VAULT, project, target.id, identifier="c").expired
        with pytest.raises(ConflictError):
            targets.update(connection, VAULT, project, target.id, identifier="b")

    def test_raw_addresses_become_targets_without_a_user(self, connection: Connection, project: int) -> None:
        """Raw addresses become targets once each, in the order given, whatever their spelling."""
        numbers = addresses.ensure_addresses(
            connection, VAULT, project, EMAIL, ["b@example.com", "a@example.com", "b@EXAMPLE.com"]
        )
        assert len(numbers) == 2
        assert numbers == addresses.ensure_addresses(
            connection, VAULT, project, EMAIL, ["b@example.com", "a@example.com"]
        )
        assert {target.user_id for target in targets.page(connection, project)} == {None}


class TestProviders:
    """Accounts, and what is kept of them."""

    def test_a_complete_provider_is_enabled_and_shows_no_secret(self, connection: Connection, project: int) -> None:
        """A provider with everything required is enabled; its secret is stored sealed and never shown."""
        provider = providers.create(connection, VAULT, project, kind="apns", provider_id="ios", credentials=APNS)
        assert provider.enabled
        assert provider.secrets_set == ("authKey",)
        assert "very-secret" not in repr(provider)
        account = providers.load_account(connection, VAULT, providers.find(connection, project, "ios"))
        assert account.credentials == APNS
        assert account.options == {"sandbox": False}
        assert "very-secret" not in repr(account)
        row = connection.execute(text("SELECT encode(credentials, 'escape') FROM providers")).scalar_one()
        assert "very-secret" not in row

    def test_an_incomplete_provider_waits(self, connection: Connection, project: int) -> None:
        """A provider without something required is disabled, says what is missing, and can't be enabled."""
        provider = providers.create(connection, VAULT, project, kind="sendgrid", credentials={"apiKey": "k"})
        assert not provider.enabled
        assert provider.missing == ("fromEmail",)
        assert providers.usable(connection, project, EMAIL) == []
        with pytest.raises(InvalidArgumentError, match="fromEmail"):
            providers.update(connection, VAULT, project, provider.id, enabled=True)
        done = providers.update(
            connection, VAULT, project, provider.id, options={"fromEmail": "a@example.com"}, enabled=True
        )
        assert done.enabled
        assert done.secrets_set == ("apiKey",)

    @pytest.mark.parametrize(
        ("kind", "credentials", "options"),
        [
            ("apns", {"authkey": "x"}, {}),
            ("smtp", {"port": "587"}, {}),
            ("smtp", {"port": True}, {}),
            ("fcm", {"serviceAccountJSON": "{"}, {}),
            ("apns", {}, {"sandbox": "yes"}),
            ("pigeon", {}, {}),
        ],
    )
    def test_what_the_catalogue_does_not_know_is_refused(
        self,
        connection: Connection,
        project: int,
        kind: str,
        credentials: dict[str, object],
        options: dict[str, object],
    ) -> None:
        """Unknown names and values of another type are refused."""
        with pytest.raises(InvalidArgumentError):
            providers.create(connection, VAULT, project, kind=kind, credentials=credentials, options=options)

    def test_a_kind_that_cannot_send_yet_is_kept_and_never_enabled(self, connection: Connection, project: int) -> None:
        """However complete it is, it is no choice for a message."""
        kept = providers.create(connection, VAULT, project, kind="appwrite", credentials={})
        assert (kept.enabled, kept.missing) == (False, ())
        with pytest.raises(InvalidArgumentError, match="can't send yet"):
            providers.update(connection, VAULT, project, kept.id, enabled=True)
        with pytest.raises(InvalidArgumentError, match="can't send yet"):
            providers.create(connection, VAULT, project, kind="appwrite", credentials={}, enabled=True)
        assert providers.usable(connection, project, PUSH) == []

    def test_a_service_account_may_come_as_text(self, connection: Connection, project: int) -> None:
        """A JSON credential may be given as its text."""
        provider = providers.create(
            connection, VAULT, project, kind="fcm", credentials={"serviceAccountJSON": '{"project_id": "p"}'}
        )
        account = providers.load_account(connection, VAULT, providers.find(connection, project, provider.id))
        assert account.credentials == {"serviceAccountJSON": {"project_id": "p"}}

    def test_the_first_choice_is_the_lowest_priority(self, connection: Connection, project: int) -> None:
        """Enabled providers come in order of priority, then of age; disabled ones not at all."""
        for provider_id, priority, enabled in (("b", 1, None), ("a", 1, None), ("c", 0, None), ("d", 0, False)):
            providers.create(
                connection,
                VAULT,
                project,
                kind="apns",
                provider_id=provider_id,
                credentials=APNS,
                priority=priority,
                enabled=enabled,
            )
        assert [row.public_id for row in providers.usable(connection, project, PUSH)] == ["c", "b", "a"]

    def test_a_stopped_provider_starts_again_with_new_credentials(self, connection: Connection, project: int) -> None:
        """A stopped provider keeps its first reason, and starts again when its credentials change."""
        providers.create(connection, VAULT, project, kind="apns", provider_id="ios", credentials=APNS)
        number = providers.find(connection, project, "ios")
        before = providers.load_account(connection, VAULT, number).updated_at
        assert provider_stops.stop_for(connection, number, "the key was revoked", action=Action.STOP_PROVIDER)
        assert not provider_stops.stop_for(connection, number, "again", action=Action.STOP_PROVIDER)
        (row,) = providers.usable(connection, project, PUSH)
        assert row.stopped_reason == "the key was revoked"
        assert providers.load_account(connection, VAULT, number).updated_at == before, "its connections are kept"
        assert provider_stops.start(connection, number)
        assert not provider_stops.start(connection, number)
        provider_stops.stop_for(connection, number, "once more", action=Action.STOP_PROVIDER)
        view = providers.update(connection, VAULT, project, "ios", credentials={"authKey": "new"})
        assert view.stopped_reason is None

    def test_targets_outlive_their_provider(self, connection: Connection, project: int) -> None:
        """A deleted provider's targets fall back to the channel's first; a twin without a provider stays alone."""
        providers.create(connection, VAULT, project, kind="apns", provider_id="ios", credentials=APNS)
        targets.create(connection, VAULT, project, channel=PUSH, identifier="ab" * 32, provider_id="ios")
        targets.create(connection, VAULT, project, channel=PUSH, identifier="cd" * 32, provider_id="ios")
        targets.create(connection, VAULT, project, channel=PUSH, identifier="cd" * 32)
        providers.delete(connection, project, "ios")
        found = targets.page(connection, project)
        assert sorted((t.identifier, t.provider_id) for t in found) == [("ab" * 32, None), ("cd" * 32, None)]

    def test_flat_fields_are_told_apart(self) -> None:
        """Fields in one mapping are sorted into credentials and options, unknown ones named."""
        from messaging.catalog import kind_of  # noqa: PLC0415

        split = provider_fields.split(kind_of("twilio"), {"accountSid": "AC", "from": "+1"})
        assert split == ({"accountSid": "AC"}, {"from": "+1"})
        with pytest.raises(InvalidArgumentError, match="`colour`"):
            provider_fields.split(kind_of("twilio"), {"colour": "red"})


class TestTopics:
    """Topics and subscriptions."""

    def test_a_topic_counts_its_subscribers(self, connection: Connection, project: int) -> None:
        """A topic says how many subscribers it has by channel; who leaves is not counted."""
        topics.create(connection, project, topic_id="news", name="News", subscribe=["any"])
        addresses.ensure_addresses(connection, VAULT, project, EMAIL, ["a@example.com", "b@example.com"])
        ids = [target.id for target in targets.page(connection, project)]
        assert subscribers.subscribe(connection, project, "news", ids) == 2
        assert subscribers.subscribe(connection, project, "news", ids) == 0
        assert topics.get(connection, project, "news").totals == {PUSH: 0, EMAIL: 2, SMS: 0}
        assert subscribers.unsubscribe(connection, project, "news", ids[:1]) == 1
        (left,) = subscribers.page(connection, project, "news")
        assert left.target_id == ids[1]
        subscribers.delete(connection, project, "news", left.id)
        assert topics.get(connection, project, "news").totals[EMAIL] == 0

    def test_subscribing_twice_is_a_conflict(self, connection: Connection, project: int) -> None:
        """A subscription is created once; a target that does not exist is named."""
        topics.create(connection, project, topic_id="news", name="News")
        target = targets.create(connection, VAULT, project, channel=PUSH, identifier="a")
        subscribers.create(connection, project, topic_id="news", target_id=target.id)
        with pytest.raises(ConflictError):
            subscribers.create(connection, project, topic_id="news", target_id=target.id)
        with pytest.raises(NotFoundError, match="target"):
            subscribers.create(connection, project, topic_id="news", target_id="none")
        with pytest.raises(NotFoundError, match="topic"):
            subscribers.subscribe(connection, project, "none", [target.id])

    def test_a_topic_changes_and_goes(self, connection: Connection, project: int) -> None:
        """A topic's parts change one by one; deleted, its targets stay."""
        topics.create(connection, project, topic_id="news", name="News")
        assert topics.update(connection, project, "news", description="All of it").name == "News"
        with pytest.raises(ConflictError):
            topics.create(connection, project, topic_id="news", name="Again")
        topics.delete(connection, project, "news")
        assert topics.page(connection, project) == []


class TestFilesAndSuppressions:
    """Attachments, and who must not be written to."""

    def test_a_file_reads_back_as_it_was(self, connection: Connection, project: int) -> None:
        """A file larger than a chunk reads back byte for byte; a reference keeps the file it names."""
        data = bytes(range(256)) * 3000
        file_id = files.store(connection, project, "a.pdf", "application/pdf", data)
        loaded = files.load(connection, project, file_id)
        assert loaded == Attachment(filename="a.pdf", content_type="application/pdf", content=data)
        assert files.view(connection, project, file_id).size_bytes == len(data)
        assert files.keep(connection, project, [FileReference(file_id=file_id)]) == [file_id]
        files.delete(connection, project, file_id)
        with pytest.raises(NotFoundError):
            files.keep(connection, project, [FileReference(file_id=file_id)])

    def test_an_empty_file_is_a_file(self, connection: Connection, project: int) -> None:
        """A file without bytes is stored and read all the same."""
        file_id = files.store(connection, project, "empty", "text/plain", b"")
        assert files.load(connection, project, file_id).content == b""

    def test_a_file_above_25_mb_is_refused(self, connection: Connection, project: int) -> None:
        """A file that no mail server takes is refused."""
        with pytest.raises(InvalidArgumentError, match="at most"):
            files.store(connection, project, "a", "text/plain", b"x" * (buckets.LARGEST_FILE_BYTES + 1))

    def test_a_suppressed_address_is_found_by_any_spelling(self, connection: Connection, project: int) -> None:
        """An entry is found by any spelling of its address, and the address itself is nowhere stored."""
        suppressions.add(connection, VAULT, project, channel=SMS, address="+49 30 123456", scope=Scope.BULK)
        found = suppressions.find(connection, VAULT, project, channel=SMS, address="+4930123456")
        assert found is not None
        assert found.scope is Scope.BULK
        assert "30123456" not in connection.execute(text("SELECT suppressions::text FROM suppressions")).scalar_one()
        assert suppressions.find(connection, VAULT, project, channel=SMS, address="+4930123457") is None

    def test_an_entry_never_reaches_less_far(self, connection: Connection, project: int) -> None:
        """An unsubscription does not weaken a complaint, a complaint widens an unsubscription."""
        for scope in (Scope.BULK, Scope.EVERYTHING, Scope.BULK):
            entry = suppressions.add(
                connection, VAULT, project, channel=EMAIL, address="a@example.com", scope=scope, reason=scope
            )
        assert (entry.scope, entry.reason) == (Scope.EVERYTHING, "everything")
        assert suppressions.remove(connection, VAULT, project, channel=EMAIL, address="a@example.com")
        assert not suppressions.remove(connection, VAULT, project, channel=EMAIL, address="a@example.com")
        assert suppressions.page(connection, project) == []
