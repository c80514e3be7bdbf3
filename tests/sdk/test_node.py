"""`node-appwrite`, as published, against the API: people's own lines of JavaScript."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.http.api import Api
from tests.sdk.contract_calls import SERVICE_ACCOUNT
from tests.sdk.node import JsError, Node


@pytest.fixture(scope="module", autouse=True)
def _configured(node: Node) -> None:
    """Messages have a way out: an account for each channel."""
    node.run(
        """
        const named = (channel) => ({ providerId: `main-${channel}`, name: 'Main', enabled: true });
        await messaging.createFCMProvider({ ...named('push'), serviceAccountJSON });
        await messaging.createSendgridProvider({ ...named('email'), apiKey: 'SG.key', fromEmail: 'news@shop.example' });
        await messaging.createTwilioProvider({
            ...named('sms'), from: '+15005550006', accountSid: 'AC1', authToken: 'token',
        });
        """,
        serviceAccountJSON=dict(SERVICE_ACCOUNT),
    )


@pytest.fixture(scope="module")
def ada(node: Node) -> str:
    """A user with an email address and a telephone; her id."""
    return str(
        node.run("""
            const user = await users.create({
                userId: ID.unique(), email: 'ada@shop.example', phone: '+4915112345678', name: 'Ada',
            });
            return user.$id;
        """)
    )


@pytest.fixture(scope="module")
def phone(node: Node, ada: str) -> str:
    """The id of a device of hers."""
    return str(
        node.run(
            """
            const target = await users.createTarget({
                userId: ada, targetId: ID.unique(), providerType: MessagingProviderType.Push, identifier: 'token-ada',
            });
            return target.$id;
            """,
            ada=ada,
        )
    )


@pytest.fixture(scope="module")
def five(node: Node) -> list[str]:
    """Five topics, in order of creation; their ids."""
    return [
        topic["$id"]
        for topic in node.run("""
            const made = [];
            for (const name of ['Pears', 'Apples', 'Figs', 'Plums', 'Quinces'])
                made.push(await messaging.createTopic({ topicId: ID.unique(), name }));
            return made;
        """)
    ]


@pytest.mark.usefixtures("phone")
def test_a_push_to_users_is_accepted(node: Node, ada: str) -> None:
    """The first call of the tutorial."""
    made = node.run(
        """
        return await messaging.createPush({
            messageId: ID.unique(), title: 'Hello', body: 'there', users: [ada], data: { order: '17' },
        });
        """,
        ada=ada,
    )
    assert made["status"] == "processing"
    assert made["providerType"] == "push"
    assert made["users"] == [ada]
    assert (made["data"]["title"], made["data"]["data"]) == ("Hello", {"order": "17"})


def test_a_push_to_topics_is_accepted(node: Node, phone: str, five: list[str]) -> None:
    """Several at once; one of them has nobody."""
    made = node.run(
        """
        await messaging.createSubscriber({ topicId: topics[0], subscriberId: ID.unique(), targetId: phone });
        return await messaging.createPush({ messageId: ID.unique(), title: 'T', body: 'B', topics });
        """,
        phone=phone,
        topics=five[2:4],
    )
    assert (made["status"], made["topics"]) == ("processing", five[2:4])


def test_an_email_with_markup_is_accepted_without_saying_html(node: Node, ada: str) -> None:
    """What its readers see is shown where it is delivered."""
    made = node.run(
        """
        return await messaging.createEmail({
            messageId: ID.unique(), subject: 'News', content: '<h1>Hello</h1><p>there</p>', users: [ada],
        });
        """,
        ada=ada,
    )
    assert made["status"] == "processing"
    assert made["data"]["content"] == "<h1>Hello</h1><p>there</p>"


def test_an_email_may_wait_for_its_time(node: Node, five: list[str]) -> None:
    """JavaScript's own spelling of a time is understood, and comes back as the same instant."""
    made = node.run(
        """
        const scheduledAt = new Date('2099-05-06T07:08:09.123Z').toISOString();
        return await messaging.createEmail({ messageId: 'later', subject: 'S', content: 'C', topics, scheduledAt });
        """,
        topics=five[:1],
    )
    assert (made["status"], made["scheduledAt"]) == ("scheduled", "2099-05-06T07:08:09.123+00:00")


def test_arguments_may_be_given_by_position(node: Node, ada: str, five: list[str]) -> None:
    """As the SDK's older users write them."""
    made = node.run(
        """
        const target = await users.createTarget(ada, ID.unique(), 'push', 'token-position');
        const push = await messaging.createPush(ID.unique(), 'T', 'B', [], [ada], [target.$id]);
        const mail = await messaging.createEmail(ID.unique(), 'S', 'C', topics, [ada], [], [], [], [], true);
        const text = await messaging.createSms(ID.unique(), 'C', [], [ada]);
        const same = await messaging.createSMS(ID.unique(), 'C', [], [ada]);
        return { target, push, mail, text, same };
        """,
        ada=ada,
        topics=five[:1],
    )
    assert made["target"]["identifier"] == "token-position"
    assert made["push"]["targets"] == [made["target"]["$id"]]
    assert (made["mail"]["status"], made["mail"]["topics"]) == ("draft", five[:1])
    assert made["text"]["providerType"] == made["same"]["providerType"] == "sms"


def test_a_draft_is_changed_sent_and_deleted(node: Node, ada: str) -> None:
    """Null is "not given"; a sent one is changed no more."""
    made = node.run(
        """
        await messaging.createEmail({ messageId: 'draft', subject: 'S', content: 'C', users: [ada], draft: true });
        const changed = await messaging.updateEmail({ messageId: 'draft', subject: 'T', content: null });
        const sent = await messaging.updateEmail({ messageId: 'draft', draft: false });
        return { changed, sent };
        """,
        ada=ada,
    )
    assert (made["changed"]["data"]["subject"], made["changed"]["data"]["content"]) == ("T", "C")
    assert (made["changed"]["status"], made["sent"]["status"]) == ("draft", "processing")
    with pytest.raises(JsError) as refused:
        node.run("await messaging.updateEmail({ messageId: 'draft', subject: 'U' });")
    assert (refused.value.code, refused.value.type) == (400, "message_already_processing")


def test_what_is_deleted_answers_with_an_empty_message(node: Node, ada: str) -> None:
    """That is what the SDK makes of 204, and a second time it is gone."""
    answers = node.run(
        """
        const topic = await messaging.createTopic({ topicId: 'gone', name: 'Gone' });
        const target = await users.createTarget({
            userId: ada, targetId: 'gone', providerType: 'push', identifier: 'token-gone',
        });
        const subscribed = { topicId: 'gone', subscriberId: 'gone' };
        await messaging.createSubscriber({ ...subscribed, targetId: 'gone' });
        await messaging.createPush({ messageId: 'gone', title: 'T', targets: ['gone'], draft: true });
        await messaging.createTwilioProvider({ providerId: 'gone', name: 'Gone' });
        await users.create({ userId: 'gone' });
        return [
            await messaging.delete({ messageId: 'gone' }),
            await messaging.deleteSubscriber(subscribed),
            await messaging.deleteTopic({ topicId: 'gone' }),
            await messaging.deleteProvider({ providerId: 'gone' }),
            await users.deleteTarget({ userId: ada, targetId: 'gone' }),
            await users.delete({ userId: 'gone' }),
        ];
        """,
        ada=ada,
    )
    assert answers == [{"message": ""}] * 6
    with pytest.raises(JsError) as refused:
        node.run("await messaging.deleteTopic('gone');")
    assert (refused.value.code, refused.value.type) == (404, "topic_not_found")


def test_lists_are_asked_with_queries(node: Node, five: list[str]) -> None:
    """Filtered, ordered, paged by cursor, counted or not."""
    found = node.run("""
        const names = async (...queries) =>
            (await messaging.listTopics({ queries })).topics.map((topic) => topic.name);
        const first = await messaging.listTopics({ queries: [Query.limit(2), Query.orderAsc('name')] });
        const cursor = first.topics.at(-1).$id;
        return {
            total: first.total,
            first: first.topics.map((topic) => topic.name),
            next: await names(Query.orderAsc('name'), Query.cursorAfter(cursor), Query.limit(2)),
            before: await names(Query.orderAsc('name'), Query.cursorBefore(cursor)),
            either: await names(Query.or([Query.equal('name', 'Figs'), Query.startsWith('name', 'Q')])),
            both: await names(Query.and([Query.contains('name', 'l'), Query.notEqual('name', 'Apples')])),
            many: await names(Query.equal('name', ['Pears', 'Figs']), Query.orderDesc('name')),
            between: await names(Query.between('name', 'F', 'Pf'), Query.offset(1)),
            recent: await names(Query.createdAfter('2020-01-01T00:00:00.000Z')),
            old: await names(Query.createdBefore('2020-01-01T00:00:00.000Z')),
            nobody: await names(Query.greaterThan('emailTotal', 0)),
            searched: (await messaging.listTopics({ search: 'Quinces' })).topics.map((topic) => topic.name),
            uncounted: (await messaging.listTopics({ total: false })).total,
            position: (await messaging.listTopics([Query.equal('name', 'Figs')])).total,
        };
    """)
    assert found["total"] == 5
    assert found["first"] == ["Apples", "Figs"]
    assert found["next"] == ["Pears", "Plums"]
    assert found["before"] == ["Apples"]
    assert sorted(found["either"]) == ["Figs", "Quinces"]
    assert found["both"] == ["Plums"]
    assert found["many"] == ["Pears", "Figs"]
    assert found["between"] == ["Figs"]
    assert len(found["recent"]) == 5
    assert found["old"] == found["nobody"] == []
    assert found["searched"] == ["Quinces"]
    assert found["uncounted"] == 0
    assert found["position"] == 1
    assert len(five) == 5


def test_messages_targets_and_people_are_listed(node: Node, ada: str, phone: str) -> None:
    """By what they are, with everything the models name."""
    found = node.run(
        """
        await messaging.createPush({ messageId: 'listed', title: 'Listed', targets: [phone], draft: true });
        return {
            messages: await messaging.listMessages({
                queries: [Query.equal('status', 'draft'), Query.equal('providerType', 'push')],
            }),
            one: await messaging.getMessage({ messageId: 'listed' }),
            targets: await messaging.listTargets({ messageId: 'listed' }),
            hers: await users.listTargets({ userId: ada, queries: [Query.equal('providerType', 'push')] }),
            people: await users.list({ queries: [Query.equal('email', 'ada@shop.example')] }),
            she: await users.get({ userId: ada }),
        };
        """,
        ada=ada,
        phone=phone,
    )
    assert [message["$id"] for message in found["messages"]["messages"]] == ["listed"]
    assert found["one"]["data"] == {"title": "Listed"} | found["one"]["data"]
    assert [target["$id"] for target in found["targets"]["targets"]] == [phone]
    assert phone in {target["$id"] for target in found["hers"]["targets"]}
    assert [person["$id"] for person in found["people"]["users"]] == [ada]
    kinds = sorted(target["providerType"] for target in found["she"]["targets"])
    assert kinds[0] == "email"
    assert kinds[-1] == "sms"


def test_subscribers_are_counted_by_channel(node: Node, ada: str, phone: str, five: list[str]) -> None:
    """A subscriber shows its target and its user."""
    found = node.run(
        """
        const made = await messaging.createSubscriber({ topicId, subscriberId: 'reader', targetId: phone });
        return {
            made,
            list: await messaging.listSubscribers({ topicId, queries: [Query.equal('targetId', phone)] }),
            one: await messaging.getSubscriber({ topicId, subscriberId: 'reader' }),
            topic: await messaging.getTopic({ topicId }),
        };
        """,
        phone=phone,
        topicId=five[0],
    )
    assert found["made"] == found["one"] == found["list"]["subscribers"][0]
    assert (found["made"]["target"]["identifier"], found["made"]["userId"]) == ("token-ada", ada)
    assert found["made"]["userName"] == "Ada"
    assert found["topic"]["pushTotal"] == 1


@pytest.mark.parametrize(
    ("snippet", "code", "type_"),
    [
        ("await messaging.getTopic({ topicId: 'none' });", 404, "topic_not_found"),
        ("await messaging.getMessage({ messageId: 'none' });", 404, "message_not_found"),
        ("await messaging.getProvider({ providerId: 'none' });", 404, "provider_not_found"),
        ("await messaging.getSubscriber({ topicId: topic, subscriberId: 'none' });", 404, "subscriber_not_found"),
        ("await users.get({ userId: 'none' });", 404, "user_not_found"),
        ("await users.getTarget({ userId: ada, targetId: 'none' });", 404, "user_target_not_found"),
        ("await messaging.createTopic({ topicId: topic, name: 'Again' });", 409, "topic_already_exists"),
        ("await users.create({ userId: ada });", 409, "user_already_exists"),
        ("await messaging.createTopic({ topicId: '_bad', name: 'N' });", 400, "general_argument_invalid"),
        ("await messaging.createTopic({ topicId: 'a/b', name: 'N' });", 400, "general_argument_invalid"),
        ("await messaging.createTopic({ topicId: 'ok', name: 'a\\0b' });", 400, "general_argument_invalid"),
        ('await messaging.getTopic({ topicId: "x\' OR 1=1 --" });', 400, "general_argument_invalid"),
        ("await messaging.createPush({ messageId: 'ok', title: 'T' });", 400, "message_missing_target"),
        (
            "await messaging.createEmail({ messageId: 'ok', subject: 'S', content: 'C', targets: [phone] });",
            400,
            "message_target_not_email",
        ),
        (
            "await messaging.createSms({ messageId: 'ok', content: 'C', users: [ada], scheduledAt: '2001-01-01' });",
            400,
            "general_argument_invalid",
        ),
        ("await messaging.listTopics({ queries: [Query.equal('nothing', 1)] });", 400, "general_query_invalid"),
        ("await messaging.listTopics({ queries: ['no query'] });", 400, "general_query_invalid"),
        ("await messaging.listTopics({ queries: [Query.cursorAfter('none')] });", 400, "general_cursor_not_found"),
    ],
)
def test_a_refusal_is_an_appwrite_exception(
    node: Node, ada: str, phone: str, five: list[str], snippet: str, code: int, type_: str
) -> None:
    """With status, type and a sentence."""
    with pytest.raises(JsError) as refused:
        node.run(snippet, ada=ada, phone=phone, topic=five[0])
    error = refused.value
    assert (error.name, error.code, error.type) == ("AppwriteException", code, type_)
    assert str(error)


@pytest.mark.parametrize(
    ("setting", "code", "type_"),
    [
        ("setKey('wrong')", 401, "general_unauthorized_scope"),
        ("setKey('')", 401, "general_unauthorized_scope"),
        ("setProject('')", 401, "general_access_forbidden"),
        ("setProject('none')", 404, "project_not_found"),
    ],
)
def test_a_client_set_up_wrongly_is_told_so(node: Node, api: Api, setting: str, code: int, type_: str) -> None:
    """With the errors the SDK's users look up."""
    snippet = f"""
        const mine = new Client().setEndpoint(endpoint).setProject(project).setKey(key).{setting};
        await new Messaging(mine).listTopics();
    """
    with pytest.raises(JsError) as refused:
        node.run(snippet, key=api.key)
    assert (refused.value.code, refused.value.type) == (code, type_)


def test_the_client_pings_and_a_slash_too_many_does_no_harm(node: Node, api: Api) -> None:
    """`http://host/v1/` is what many write."""
    found = node.run(
        """
        const mine = new Client().setEndpoint(endpoint + '/').setProject(project).setKey(key);
        return { ping: await mine.ping(), topics: (await new Messaging(mine).listTopics()).topics.length };
        """,
        key=api.key,
    )
    assert found["ping"] == {"message": "Pong!"}
    assert found["topics"] <= 25


def test_a_server_signs_users_in(node: Node, ada: str) -> None:
    """By a session whose secret only the server sees, and by a token that speaks for the user."""
    found: dict[str, Any] = node.run(
        """
        const session = await users.createSession({ userId: ada });
        const bySession = new Client().setEndpoint(endpoint).setProject(project).setSession(session.secret);
        const me = await new Account(bySession).get();
        const { jwt } = await users.createJWT({ userId: ada, sessionId: session.$id, duration: 60 });
        const byToken = new Client().setEndpoint(endpoint).setProject(project).setJWT(jwt);
        const same = await new Account(byToken).get();
        const sessions = await users.listSessions({ userId: ada });
        const labelled = await users.updateLabels({ userId: ada, labels: ['vip'] });
        return { session, me, same, sessions, labelled };
        """,
        ada=ada,
    )
    assert found["me"]["$id"] == found["same"]["$id"] == ada
    assert found["session"]["$id"] in {session["$id"] for session in found["sessions"]["sessions"]}
    assert not any(session["secret"] for session in found["sessions"]["sessions"])
    assert found["labelled"]["labels"] == ["vip"]


def test_the_sdks_print_no_warning(node: Node) -> None:
    """They would, if we sent `X-Appwrite-Warning`."""
    assert "Warning" not in node.said()
