"""The SDKs through port 443: MQTT and AMQP in WebSockets (amqp.md §1.1, mqtt.md §1)."""

import json
import time

import pytest
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from uamqp import TransportType

from hub import eventually


@pytest.fixture(scope="module")
def back_end(hub):
    """The service SDK with its AMQP in WebSockets."""
    manager = IoTHubRegistryManager.from_connection_string(
        hub.policy("service"), transport_type=TransportType.AmqpOverWebsocket
    )
    yield manager
    manager.amqp_svc_client.disconnect_sync()


def a_back_end_and_a_device_in_websockets_do_what_the_sample_does(
    back_end, registry, identity, make_device
):
    device = make_device(identity, websockets=True).connect().receive_messages().follow_desired()
    device.answer_methods(lambda request: (200, {"after": request.payload["delay"]}))
    properties = {"messageId": "command-1", "contentType": "application/json", "color": "red"}
    back_end.send_c2d_message(identity.device_id, json.dumps({"fan": "high"}), properties)
    message = device.next_message()
    assert json.loads(message.data) == {"fan": "high"}
    assert (message.message_id, message.content_type) == ("command-1", "application/json")
    assert message.custom_properties == {"color": "red"}

    answer = back_end.invoke_device_method(
        identity.device_id,
        CloudToDeviceMethod(
            method_name="reboot",
            payload={"delay": 3},
            response_timeout_in_seconds=10,
            connect_timeout_in_seconds=5,
        ),
    )
    assert (answer.status, answer.payload) == (200, {"after": 3})

    patch = Twin(properties=TwinProperties(desired={"interval": 30}))
    back_end.update_twin(identity.device_id, patch, "*")
    assert device.changes.get(timeout=15) == {"interval": 30, "$version": 2}
    device.client.patch_twin_reported_properties({"interval": 30})
    twin = device.client.get_twin()
    assert twin["reported"] == {"interval": 30, "$version": 2}
    eventually(
        lambda: registry.get_device(identity.device_id).cloud_to_device_message_count == 0,
        "the queue to be empty",
    )


def messages_of_the_largest_size_pass_in_order(back_end, identity, make_device):
    device = make_device(identity, websockets=True).connect().receive_messages()
    bodies = [bytes([n]) * (60 * 1024) for n in range(10)]
    for body in bodies:
        back_end.send_c2d_message(identity.device_id, body)
    assert [message.data for message in device.take_messages(10)] == bodies


def a_refused_message_is_an_error_and_the_next_one_is_sent(back_end, identity, make_device):
    with pytest.raises(Exception, match="C2D message send failure"):
        back_end.send_c2d_message("nobody", "x")
    back_end.send_c2d_message(identity.device_id, "still here")
    device = make_device(identity, websockets=True).connect().receive_messages()
    assert device.next_message().data == b"still here"


def a_device_in_websockets_takes_the_place_of_one_on_tcp(back_end, identity, make_device):
    first = make_device(identity, connection_retry=False).connect().receive_messages()
    first.await_state(True)
    second = make_device(identity, websockets=True).connect().receive_messages()
    first.await_state(False)
    back_end.send_c2d_message(identity.device_id, "to the newer one")
    assert second.next_message().data == b"to the newer one"


def a_device_in_websockets_sends_telemetry_and_renews_its_token(
    back_end, identity, make_device
):
    # The SDK renews 120 seconds before the end: here two seconds after the start.
    device = make_device(identity, websockets=True, sastoken_ttl=122).connect().receive_messages()
    device.await_state(True)
    device.client.send_message(json.dumps({"at": time.time()}))
    device.await_state(False)
    device.await_state(True)
    back_end.send_c2d_message(identity.device_id, "after the renewal")
    assert device.next_message().data == b"after the renewal"
