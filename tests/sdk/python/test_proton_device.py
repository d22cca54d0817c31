"""A device on a general AMQP library, with a token as its SASL password (amqp.md §4 to §7)."""

import json
import queue
import threading
import time
import uuid

import pytest
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from proton import Delivery, Message, symbol, timestamp, ubyte, ulong

from hub import eventually
from proton_client import Client, Pair

DESIRED = "/notifications/twin/properties/desired"


@pytest.fixture
def device(hub, identity, keep):
    return keep(Client.of_device(hub, identity))


@pytest.fixture
def receive(device, identity):
    """Attaches to the device's messages."""
    return lambda credit=0: device.receiver(
        f"/devices/{identity.device_id}/messages/devicebound", credit
    )


def send_numbers(registry, identity, count, properties=None):
    for n in range(count):
        registry.send_c2d_message(identity.device_id, str(n), properties or {})


def count_waiting(registry, identity):
    return registry.get_device(identity.device_id).cloud_to_device_message_count


def await_empty_queue(registry, identity):
    eventually(lambda: count_waiting(registry, identity) == 0, "the queue to be empty")


def every_property_the_sdk_sends_arrives_with_the_type_of_the_contract(
    registry, identity, receive
):
    message_id = str(uuid.uuid4())
    expiry = int(time.time() * 1000) + 600_000
    registry.send_c2d_message(
        identity.device_id,
        b"\x00\x01\xff",
        {
            "messageId": message_id,
            "correlationId": "order-7",
            "contentType": "application/octet-stream",
            "contentEncoding": "utf-8",
            "expiryTimeUtc": expiry,
            "iothub-ack": "full",
            "greeting": "grüezi",
            "count": 7,
        },
    )
    got = receive(1).next()
    message = got.message
    assert got.body == b"\x00\x01\xff"
    assert (message.id, message.correlation_id) == (message_id, "order-7")
    assert message.address == f"/devices/{identity.device_id}/messages/devicebound"
    assert (message.content_type, message.content_encoding) == ("application/octet-stream", "utf-8")
    assert message.expiry_time == expiry / 1000
    # Everything but text would be dropped by one SDK and break another.
    assert message.properties == {"iothub-ack": "full", "greeting": "grüezi", "count": "7"}
    kinds = {name: type(value) for name, value in message.annotations.items()}
    assert kinds == {
        "iothub-enqueuedtime": timestamp,
        "iothub-deliverycount": ubyte,
        "x-opt-sequence-number": ulong,
        "x-opt-lock-token": str,
    }
    # .NET makes a GUID of the tag, and writes it as the hub does.
    assert str(uuid.UUID(bytes_le=got.tag)) == message.annotations["x-opt-lock-token"]
    got.accept()
    await_empty_queue(registry, identity)


def a_message_that_was_let_go_comes_again_with_a_higher_count(registry, identity, receive):
    send_numbers(registry, identity, 1)
    receiver = receive(3)
    first = receiver.next()
    first.release()
    second = receiver.next()
    second.modify(undeliverable=False)
    third = receiver.next()
    assert [got.body for got in (first, second, third)] == [b"0"] * 3
    assert second.count == first.count + 1
    assert third.count == second.count + 1
    assert len({first.tag, second.tag, third.tag}) == 3
    third.accept()
    await_empty_queue(registry, identity)
    assert receiver.is_silent()


def a_refused_message_and_an_undeliverable_one_are_reported_as_rejected(
    hub, registry, identity, receive, keep
):
    ids = {str(uuid.uuid4()) for _ in range(2)}
    for message_id in ids:
        properties = {"messageId": message_id, "iothub-ack": "negative"}
        registry.send_c2d_message(identity.device_id, "x", properties)
    one, other = receive(2).take(2)
    one.reject()
    other.modify(undeliverable=True)
    await_empty_queue(registry, identity)

    feedback = keep(Client.of_policy(hub, "service")).receiver("/messages/serviceBound/feedback", 100)
    records = []
    while ids - {record["originalMessageId"] for record in records}:
        batch = feedback.next()
        records += json.loads(batch.body)
        batch.accept()
    ours = [record for record in records if record["originalMessageId"] in ids]
    assert [(record["statusCode"], record["deviceId"]) for record in ours] == [
        ("Rejected", identity.device_id)
    ] * 2


def no_message_comes_without_credit_and_no_more_than_there_is(registry, identity, receive):
    send_numbers(registry, identity, 6)
    receiver = receive()
    assert receiver.is_silent()
    for credit, bodies in ((3, [b"0", b"1", b"2"]), (2, [b"3", b"4"])):
        receiver.grant(credit)
        batch = receiver.take(credit)
        assert [got.body for got in batch] == bodies
        # A word on a message is no credit for another.
        for got in batch:
            got.accept()
        assert receiver.is_silent()
    eventually(lambda: count_waiting(registry, identity) == 1, "one message to be left")


def drained_credit_brings_what_is_there_and_nothing_that_comes_later(
    registry, identity, receive
):
    send_numbers(registry, identity, 2)
    receiver = receive()
    assert receiver.drain(10) == 8
    assert [got.body for got in receiver.take(2)] == [b"0", b"1"]
    send_numbers(registry, identity, 1)
    assert receiver.is_silent()


def a_word_that_asks_for_an_answer_gets_accepted(registry, identity, receive):
    send_numbers(registry, identity, 3)
    for got, word in zip(
        receive(3).take(3), (Delivery.ACCEPTED, Delivery.REJECTED, Delivery.ACCEPTED)
    ):
        assert got.ask(word).state == Delivery.ACCEPTED
    await_empty_queue(registry, identity)


def messages_without_a_word_are_there_for_the_next_link(registry, identity, receive):
    send_numbers(registry, identity, 3)
    first = receive(3)
    first.take(1)[0].accept()
    first.take(2)
    first.close()
    assert [got.body for got in receive(3).take(2)] == [b"1", b"2"]


def a_word_that_comes_after_the_lock_is_told_so_and_the_message_comes_again(
    registry, identity, receive
):
    send_numbers(registry, identity, 1)
    receiver = receive(2)
    first, again = receiver.take(2)
    assert (first.body, again.body) == (b"0", b"0")
    assert again.count == first.count + 1
    late = first.ask(Delivery.ACCEPTED)
    assert (late.state, late.condition) == (Delivery.REJECTED, "com.microsoft:message-lock-lost")
    assert again.ask(Delivery.ACCEPTED).state == Delivery.ACCEPTED
    await_empty_queue(registry, identity)


def the_hub_keeps_to_the_smallest_frames_there_may_be(hub, registry, identity, keep):
    body = bytes(range(256)) * 200
    registry.send_c2d_message(identity.device_id, body)
    client = keep(Client.of_device(hub, identity, max_frame_size=512))
    got = client.receiver(f"/devices/{identity.device_id}/messages/devicebound", 1).next()
    assert got.body == body


def telemetry_is_accepted_one_by_one_and_too_large_a_message_is_not(device, identity):
    telemetry = device.sender(f"/devices/{identity.device_id}/messages/events")
    readings = [Message(body=json.dumps({"n": n}).encode(), inferred=True) for n in range(100)]
    assert {sent.state for sent in telemetry.send_all(readings)} == {Delivery.ACCEPTED}
    refused = telemetry.send(Message(body=bytes(300 * 1024), inferred=True))
    assert (refused.state, refused.condition) == (
        Delivery.REJECTED,
        "amqp:link:message-size-exceeded",
    )
    assert telemetry.send(Message(body=b"{}", inferred=True)).state == Delivery.ACCEPTED


def a_request_on_the_twin_is_answered_under_an_id_of_its_own_type(registry, identity, device):
    twin = Pair(device, f"/devices/{identity.device_id}/twin")

    def ask(operation, correlation_id, resource=None, body=b""):
        annotations = {symbol("operation"): operation}
        if resource:
            annotations[symbol("resource")] = resource
        reply = twin.ask(
            Message(correlation_id=correlation_id, annotations=annotations, body=body, inferred=True)
        )
        assert reply.correlation_id == correlation_id
        assert type(reply.correlation_id) is type(correlation_id)
        return reply

    # What is reported is there for the device and for the back-end.
    report = ask("PATCH", 7, "/properties/reported", b'{"fan": {"speed": 3}}')
    assert report.annotations["status"] in (200, 204)
    assert report.annotations["version"] == 2
    reported = registry.get_twin(identity.device_id).properties.reported
    assert reported["fan"] == {"speed": 3}
    whole = ask("GET", uuid.uuid4())
    assert whole.annotations["status"] == 200
    assert json.loads(bytes(whole.body)) == {
        "desired": {"$version": 1},
        "reported": {"fan": {"speed": 3}, "$version": 2},
    }
    refused = ask("PATCH", "bad", "/properties/reported", b"{")
    assert refused.annotations["status"] == 400
    assert json.loads(bytes(refused.body))["errorCode"]

    # Changes come while they are asked for.
    def desire(value):
        patch = Twin(properties=TwinProperties(desired={"interval": value}))
        registry.update_twin(identity.device_id, patch, "*")

    desire(1)
    assert twin.receiver.is_silent()
    assert ask("PUT", "follow", DESIRED).annotations["status"] == 200
    desire(2)
    change = twin.receiver.next().message
    assert change.correlation_id is None
    assert change.annotations["resource"] == "/properties/desired"
    assert json.loads(bytes(change.body)) == {"interval": 2, "$version": 3}
    assert ask("DELETE", "leave", DESIRED).annotations["status"] == 200
    desire(3)
    assert twin.receiver.is_silent()


def a_method_call_is_answered_by_the_id_it_came_with(registry, identity, device):
    methods = Pair(device, f"/devices/{identity.device_id}/methods/devicebound")
    answers = queue.Queue()
    call = CloudToDeviceMethod(
        method_name="reboot",
        payload={"delay": 3},
        connect_timeout_in_seconds=10,
        response_timeout_in_seconds=10,
    )

    def invoke():
        answers.put(registry.invoke_device_method(identity.device_id, call))

    thread = threading.Thread(target=invoke, daemon=True)
    thread.start()
    request = methods.receiver.next().message
    assert isinstance(request.correlation_id, uuid.UUID)
    assert request.properties["IoThub-methodname"] == "reboot"
    assert json.loads(bytes(request.body)) == {"delay": 3}
    answer = Message(
        correlation_id=request.correlation_id,
        properties={"IoThub-status": 202},
        body=b'{"rebooting": true}',
        inferred=True,
    )
    # A Python number goes as a long; the contract has an int, and any width is understood.
    assert methods.sender.send(answer).state == Delivery.ACCEPTED
    got = answers.get(timeout=15)
    assert (got.status, got.payload) == (202, {"rebooting": True})
    thread.join()


def the_newest_connection_of_a_device_wins_whatever_it_speaks(
    hub, registry, identity, receive, make_device, keep
):
    address = f"/devices/{identity.device_id}/messages/devicebound"
    first = receive(1)
    second = keep(Client.of_device(hub, identity)).receiver(address, 1)
    assert first.await_end() == "amqp:link:stolen"
    third = make_device(identity, connection_retry=False).connect().receive_messages()
    third.await_state(True)
    assert second.await_end() == "amqp:link:stolen"
    last = keep(Client.of_device(hub, identity)).receiver(address, 1)
    third.await_state(False)
    send_numbers(registry, identity, 1)
    assert last.next().body == b"0"


def a_client_that_asks_for_signs_of_life_gets_them(hub, registry, identity, keep):
    # The library gives up a connection that says nothing for as long.
    client = keep(Client.of_device(hub, identity, heartbeat=0.5))
    receiver = client.receiver(f"/devices/{identity.device_id}/messages/devicebound", 1)
    assert client.is_still_true(lambda: not receiver.is_ended, 1.5)
    send_numbers(registry, identity, 1)
    assert receiver.next().body == b"0"
