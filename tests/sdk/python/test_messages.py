"""Cloud-to-device messages from the service SDK to devices (c2d.md)."""

import json
import uuid

import pytest

from hub import eventually


def twenty_messages_sent_while_the_device_is_offline_arrive_in_order_when_it_connects(
    registry, identity, make_device
):
    for n in range(20):
        registry.send_c2d_message(identity.device_id, f"command {n}")
    assert registry.get_device(identity.device_id).cloud_to_device_message_count == 20

    device = make_device(identity).connect().receive_messages()
    got = [message.data.decode() for message in device.take_messages(20)]
    assert got == [f"command {n}" for n in range(20)]
    eventually(
        lambda: registry.get_device(identity.device_id).cloud_to_device_message_count == 0,
        "the queue to be empty",
    )


def a_message_keeps_its_system_and_application_properties(registry, identity, make_device):
    device = make_device(identity).connect().receive_messages()
    message_id = str(uuid.uuid4())
    registry.send_c2d_message(
        identity.device_id,
        b"\x00\x01\xff",
        {
            "messageId": message_id,
            "correlationId": "order-7",
            "contentType": "application/octet-stream",
            "contentEncoding": "utf-8",
            "a.b": "x=y/?#+%&",
            "greeting": "grüezi",
        },
    )
    message = device.next_message()
    assert message.data == b"\x00\x01\xff"
    assert message.message_id == message_id
    assert message.correlation_id == "order-7"
    assert message.content_type == "application/octet-stream"
    assert message.content_encoding == "utf-8"
    assert message.custom_properties == {"a.b": "x=y/?#+%&", "greeting": "grüezi"}


def the_fifty_first_message_is_refused_and_the_fifty_arrive(registry, identity, make_device):
    for n in range(50):
        registry.send_c2d_message(identity.device_id, str(n))
    with pytest.raises(Exception, match="C2D message send failure"):
        registry.send_c2d_message(identity.device_id, "one too many")
    device = make_device(identity).connect().receive_messages()
    assert [message.data.decode() for message in device.take_messages(50)] == [
        str(n) for n in range(50)
    ]


def a_message_to_an_unknown_device_is_refused_and_the_next_one_is_not(
    registry, identity, make_device
):
    with pytest.raises(Exception, match="C2D message send failure"):
        registry.send_c2d_message("nobody", "x")
    device = make_device(identity).connect().receive_messages()
    registry.send_c2d_message(identity.device_id, "still here")
    assert device.next_message().data == b"still here"


def a_purge_empties_the_queue_and_counts_what_it_removed(registry, identity, make_device):
    for n in range(3):
        registry.send_c2d_message(identity.device_id, str(n))
    messages = registry.protocol.cloud_to_device_messages
    result = messages.purge_cloud_to_device_message_queue(identity.device_id)
    assert result.total_messages_purged == 3
    assert result.device_id == identity.device_id

    registry.send_c2d_message(identity.device_id, "after the purge")
    device = make_device(identity).connect().receive_messages()
    assert device.next_message().data == b"after the purge"


def the_feedback_of_a_completed_message_is_received_and_completed_over_https(
    registry, identity, make_device
):
    device = make_device(identity).connect().receive_messages()
    message_id = str(uuid.uuid4())
    properties = {"messageId": message_id, "iothub-ack": "full"}
    registry.send_c2d_message(identity.device_id, "do it", properties)
    device.next_message()
    messages = registry.protocol.cloud_to_device_messages

    def receive():
        """Completes one batch and returns the record of this test's message, if it is there."""
        answer = messages.receive_feedback_notification(raw=True).response
        if answer.status_code == 204:
            return None
        messages.complete_feedback_notification(answer.headers["ETag"].strip('"'))
        records = {record["originalMessageId"]: record for record in json.loads(answer.text)}
        return records.get(message_id)

    record = eventually(receive, "the feedback")
    assert record["statusCode"] == "Success"
    assert record["deviceId"] == identity.device_id
