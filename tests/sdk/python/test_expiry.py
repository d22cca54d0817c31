"""Tokens that end while their device is connected (auth.md §3.5, mqtt.md §4)."""

import threading
import time
import uuid

import pytest
from azure.iot.device import IoTHubDeviceClient
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod

from conftest import started
from device import Device
from hub import PATIENCE
from proton_client import device_token

GRACE = 1
"""Seconds for which a connection outlives its token."""

TRANSPORTS = pytest.mark.parametrize("websockets", [False, True], ids=["Mqtt", "MqttWs"])


@pytest.fixture(scope="module")
def hub(tmp_path_factory, trusted):
    """A hub that closes connections soon after their token has ended."""
    settings = {"mqtt.token_grace": f"{GRACE}s"}
    root = tmp_path_factory.mktemp("expiry")
    hub = started("python-expiry.downlink.test", root, trusted, settings)
    yield hub
    assert hub.stop() == 0


@pytest.fixture(scope="module")
def registry(hub):
    manager = IoTHubRegistryManager.from_connection_string(hub.policy("iothubowner"))
    yield manager
    manager.amqp_svc_client.disconnect_sync()


@pytest.fixture
def identity(registry):
    return registry.create_device_with_sas(f"device-{uuid.uuid4()}", "", "", "enabled")


@pytest.fixture
def with_token(hub, keep):
    """Makes devices with a ready-made token."""

    def make(token, **options):
        client = IoTHubDeviceClient.create_from_sastoken(
            token, server_verification_cert=hub.ca_file.read_text(), **options
        )
        return keep(Device(hub, client=client))

    return make


def listen(device):
    device.receive_messages().answer_methods(lambda _request: (200, "pong"))
    device.await_state(True)
    return device


def assert_serves(device, registry, identity, text):
    registry.send_c2d_message(identity.device_id, text)
    assert device.next_message().data == text.encode()
    ping = CloudToDeviceMethod(
        method_name="ping", response_timeout_in_seconds=10, connect_timeout_in_seconds=5
    )
    answer = registry.invoke_device_method(identity.device_id, ping)
    assert (answer.status, answer.payload) == (200, "pong")
    device.client.send_message("telemetry")


@TRANSPORTS
def a_device_that_renews_its_token_by_itself_goes_on_answering_calls(
    registry, identity, make_device, hub, websockets
):
    # The SDK renews 120 seconds before the end: here two seconds after the start.
    device = make_device(identity, at=hub, websockets=websockets, sastoken_ttl=122)
    listen(device.connect())
    assert_serves(device, registry, identity, "before the renewal")
    device.await_state(False)
    device.await_state(True)
    assert_serves(device, registry, identity, "after the renewal")


@TRANSPORTS
def a_device_that_is_asked_for_another_token_goes_on_with_it(
    hub, registry, identity, with_token, websockets
):
    # The SDK asks 120 seconds before the end: here two seconds after the start.
    device = with_token(device_token(hub, identity, ttl=122), websockets=websockets)
    asked = threading.Event()
    device.client.on_new_sastoken_required = asked.set
    listen(device.connect())
    assert asked.wait(PATIENCE)
    device.client.update_sastoken(device_token(hub, identity))
    device.await_state(False)
    device.await_state(True)
    assert_serves(device, registry, identity, "with the new token")


@TRANSPORTS
def a_device_that_has_another_token_in_time_outlives_the_first(
    hub, registry, identity, with_token, websockets
):
    device = with_token(device_token(hub, identity, ttl=2), websockets=websockets)
    first_is_over = time.time() + 2 + GRACE
    listen(device.connect())
    device.client.update_sastoken(device_token(hub, identity))
    device.await_state(False)
    device.await_state(True)
    served = 0
    while served == 0 or time.time() < first_is_over + 0.5:
        assert_serves(device, registry, identity, f"message {served}")
        served += 1
    assert device.states.empty(), "the connection stayed"


@TRANSPORTS
def a_device_whose_token_ends_is_cut_off_and_comes_back_with_another_to_what_it_missed(
    hub, registry, identity, with_token, websockets
):
    token = device_token(hub, identity, ttl=2)
    device = with_token(token, websockets=websockets, connection_retry=False)
    listen(device.connect())
    assert_serves(device, registry, identity, "in time")
    device.await_state(False)
    registry.send_c2d_message(identity.device_id, "while away")
    device.client.update_sastoken(device_token(hub, identity))
    device.connect()
    assert device.next_message().data == b"while away"
    assert_serves(device, registry, identity, "after it")
