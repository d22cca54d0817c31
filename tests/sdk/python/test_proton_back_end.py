"""A back-end on a general AMQP library, with a token as its SASL password (amqp.md §8)."""

import json
import time
import uuid

import pytest
from proton import Delivery, Message

from proton_client import Client

FEEDBACK = "/messages/serviceBound/feedback"


@pytest.fixture
def connect(hub, keep):
    """Makes connections of a back-end."""
    return lambda: keep(Client.of_policy(hub, "service"))


def command(identity_or_id, body=b"x", **parts):
    device_id = getattr(identity_or_id, "device_id", identity_or_id)
    to = f"/devices/{device_id}/messages/devicebound"
    return Message(**{"address": to, "body": body, "inferred": True, **parts})


def commands_written_without_waiting_are_accepted_and_come_in_order(
    connect, identity, make_device
):
    sent = connect().sender("/messages/devicebound").send_all(
        [command(identity, str(n).encode()) for n in range(50)]
    )
    assert {outcome.state for outcome in sent} == {Delivery.ACCEPTED}
    device = make_device(identity).connect().receive_messages()
    got = [message.data.decode() for message in device.take_messages(50)]
    assert got == [str(n) for n in range(50)]


def each_refusal_has_its_condition_and_the_link_goes_on(connect, identity):
    commands = connect().sender("/messages/devicebound")
    long_ago = time.time() - 60
    outcomes = commands.send_all(
        [
            command("nobody"),
            command(identity, address=None),
            command(identity, address="/devices/x/messages/events"),
            command(identity, bytes(70 * 1024)),
            command(identity, expiry_time=long_ago),
            command(identity, properties={"iothub-ack": "perhaps"}),
            command(identity),
        ]
    )
    assert [(outcome.condition, outcome.number) for outcome in outcomes] == [
        ("amqp:not-found", 404001),
        ("amqp:not-allowed", 400003),
        ("amqp:not-allowed", 400003),
        ("amqp:link:message-size-exceeded", 413001),
        ("amqp:not-allowed", 403009),
        ("com.microsoft:argument-error", 400004),
        (None, None),
    ]
    assert outcomes[-1].state == Delivery.ACCEPTED
    full = commands.send_all([command(identity) for _ in range(50)])
    assert {outcome.state for outcome in full[:49]} == {Delivery.ACCEPTED}
    assert (full[49].condition, full[49].number) == ("amqp:resource-limit-exceeded", 403004)


def what_the_library_sends_arrives_at_an_mqtt_device(connect, identity, make_device):
    device = make_device(identity).connect().receive_messages()
    expiry = int(time.time()) + 600
    ids = [(1 << 40, str(1 << 40)), ("text-7", "text-7")]
    unique = uuid.uuid4()
    ids.append((unique, str(unique)))
    commands = connect().sender("/messages/devicebound")
    for given, told in ids:
        sent = commands.send(
            command(
                identity,
                b"\x00\xff",
                id=given,
                correlation_id=given,
                user_id=b"ops",
                content_type="application/json",
                content_encoding="utf-8",
                expiry_time=expiry,
                properties={"iothub-ack": "full", "flag": True, "n": 1.5, "word": "grüezi"},
            )
        )
        assert sent.state == Delivery.ACCEPTED
        message = device.next_message()
        assert message.data == b"\x00\xff"
        assert (message.message_id, message.correlation_id) == (told, told)
        assert message.user_id == "ops"
        assert (message.content_type, message.content_encoding) == ("application/json", "utf-8")
        assert message.ack == "full"
        assert message.expiry_time_utc.startswith(
            time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(expiry))
        )
        assert message.custom_properties == {"flag": "true", "n": "1.5", "word": "grüezi"}


@pytest.fixture
def complete(connect, identity, make_device):
    """Has `identity` complete one more message, and returns its id."""
    device = make_device(identity).connect().receive_messages()
    commands = connect().sender("/messages/devicebound")

    def complete():
        message_id = str(uuid.uuid4())
        properties = {"iothub-ack": "positive"}
        outcome = commands.send(command(identity, id=message_id, properties=properties))
        assert outcome.state == Delivery.ACCEPTED
        device.next_message()
        return message_id

    return complete


def ids_in(batch):
    return [record["originalMessageId"] for record in json.loads(batch.body)]


def await_report(message_id, *receivers):
    """Returns who has got the batch with the report, and the batch; gives back credit for others.

    The queue of reports is the hub's: what other tests have left comes as well.
    """
    end = time.monotonic() + 15
    while time.monotonic() < end:
        for receiver in receivers:
            receiver.client.is_still_true(lambda: not receiver.inbox, 0.05)
            while receiver.inbox:
                batch = receiver.next()
                if message_id in ids_in(batch):
                    return receiver, batch
                batch.accept()
                receiver.grant(1)
    raise AssertionError("no receiver has got the report")


def a_report_that_was_let_go_comes_again_until_it_is_accepted(connect, complete):
    feedback = connect().receiver(FEEDBACK, 2)
    message_id = complete()
    _, batch = await_report(message_id, feedback)
    assert batch.message.content_type == "application/vnd.microsoft.iothub.feedback.json"
    assert len(batch.tag) == 16
    batch.release()
    _, again = await_report(message_id, feedback)
    assert ids_in(again) == ids_in(batch)
    assert again.tag != batch.tag
    assert again.ask(Delivery.ACCEPTED).state == Delivery.ACCEPTED


def receivers_of_feedback_compete_and_one_without_credit_gets_none(connect, complete):
    # One batch for each credit: whoever has had its own leaves the next one to the others.
    first, second, idle = (connect().receiver(FEEDBACK, credit) for credit in (1, 1, 0))
    winners = []
    for _ in range(2):
        winner, batch = await_report(complete(), first, second)
        batch.accept()
        winners.append(winner)
    assert set(winners) == {first, second}
    message_id = complete()
    assert idle.is_silent()
    idle.grant(1)
    _, batch = await_report(message_id, idle)
    batch.accept()
    assert first.is_silent()
    assert second.is_silent()


def a_receiver_of_file_notifications_attaches_and_hears_nothing(connect):
    assert connect().receiver("/messages/serviceBound/filenotifications", 10).is_silent()
