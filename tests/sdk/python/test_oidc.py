"""Back-ends with tokens of an issuer of the user's own (auth.md §6): `from_token_credential`."""

import time
import uuid

import pytest
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, Twin
from msrest.exceptions import HttpOperationError
from uamqp import TransportType

from conftest import started
from issuer import Fixed, Issuer

AMQP = pytest.mark.parametrize(
    "transport", [TransportType.Amqp, TransportType.AmqpOverWebsocket], ids=lambda kind: kind.name
)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    issuer = Issuer(tmp_path_factory.mktemp("issuer")).start()
    yield issuer
    issuer.stop()


@pytest.fixture(scope="module")
def bearer_hub(tmp_path_factory, trusted, issuer):
    """A hub that trusts the issuer."""
    root = tmp_path_factory.mktemp("bearer")
    settings = {"amqp.token_grace": "1s"}
    environment = {"DOWNLINK_CONFIG": str(issuer.settings)}
    hub = started("python-oidc.downlink.test", root, trusted, settings, environment)
    yield hub
    assert hub.stop() == 0


@pytest.fixture
def manager(bearer_hub):
    """Makes registry managers that are closed after the test."""
    made = []

    def make(credential, transport=TransportType.Amqp):
        made.append(
            IoTHubRegistryManager.from_token_credential(
                bearer_hub.host_name, credential, transport_type=transport
            )
        )
        return made[-1]

    yield make
    for one in made:
        one.amqp_svc_client.disconnect_sync()


@pytest.fixture
def identity(issuer, manager):
    registry = manager(issuer.credential("contributor"))
    return registry.create_device_with_sas(f"device-{uuid.uuid4()}", "", "", "enabled")


def assert_refused(status, name, call):
    with pytest.raises(HttpOperationError) as caught:
        call()
    assert caught.value.response.status_code == status, caught.value.response.text
    assert caught.value.response.headers["iothub-errorcode"] == name


def a_token_with_the_right_to_everything_opens_registry_twins_and_methods(
    issuer, manager, identity, bearer_hub, make_device
):
    registry = manager(issuer.credential("contributor"))
    device_id = identity.device_id
    assert registry.get_device(device_id).device_id == device_id
    patched = registry.update_twin(device_id, Twin(tags={"floor": 2}), "*")
    assert patched.tags["floor"] == 2
    assert registry.get_twin(device_id).tags["floor"] == 2

    device = make_device(identity, at=bearer_hub).connect().answer_methods(
        lambda request: (200, request.payload)
    )
    call = CloudToDeviceMethod(method_name="reboot", payload={"delay": 3})
    answer = registry.invoke_device_method(device_id, call)
    assert (answer.status, answer.payload) == (200, {"delay": 3})

    other = registry.create_device_with_sas(f"device-{uuid.uuid4()}", "", "", "enabled")
    registry.delete_device(other.device_id)
    assert_refused(404, "DeviceNotFound", lambda: registry.get_device(other.device_id))


@AMQP
def a_token_opens_sends_over_amqp(
    issuer, manager, identity, bearer_hub, make_device, transport
):
    device = make_device(identity, at=bearer_hub).connect().receive_messages()
    sender = manager(issuer.credential("sender"), transport)
    sender.send_c2d_message(identity.device_id, "by bearer")
    assert device.next_message().data == b"by bearer"


def a_token_without_the_action_is_refused_with_403(issuer, manager, identity):
    device_id = identity.device_id
    reader = manager(issuer.credential("reader"))
    assert reader.get_device(device_id).device_id == device_id
    reader.get_twin(device_id)
    forbidden = "GenericForbidden"
    assert_refused(403, forbidden, lambda: reader.delete_device(device_id))
    assert_refused(403, forbidden, lambda: reader.update_twin(device_id, Twin(tags={}), "*"))
    call = CloudToDeviceMethod(method_name="reboot", payload=None)
    assert_refused(403, forbidden, lambda: reader.invoke_device_method(device_id, call))
    twins = manager(issuer.credential("twin-writer"))
    twins.update_twin(device_id, Twin(tags={"floor": 1}), "*")
    assert_refused(403, forbidden, lambda: twins.get_device(device_id))
    nobody = manager(issuer.credential("nobody"))
    assert_refused(403, forbidden, lambda: nobody.get_device(device_id))


@AMQP
def over_amqp_a_token_without_the_action_sends_nothing(
    issuer, manager, identity, transport
):
    reader = manager(issuer.credential("reader"), transport)
    with pytest.raises(Exception):
        reader.send_c2d_message(identity.device_id, "not allowed")
    owner = manager(issuer.credential("contributor"))
    assert owner.get_device(identity.device_id).cloud_to_device_message_count == 0


def a_token_for_another_audience_opens_nothing(issuer, manager, identity):
    device_id = identity.device_id
    stranger = issuer.credential("contributor", "https://other.test")
    for credential in (stranger, Fixed("a.b.c")):
        registry = manager(credential)
        assert_refused(401, "IotHubUnauthorized", lambda: registry.get_device(device_id))
        with pytest.raises(Exception):
            registry.send_c2d_message(device_id, "not allowed")
    owner = manager(issuer.credential("contributor"))
    assert owner.get_device(device_id).cloud_to_device_message_count == 0


def a_back_end_goes_on_over_rest_and_amqp_while_tokens_that_last_seconds_are_renewed(
    issuer, manager, identity, bearer_hub, make_device
):
    device = make_device(identity, at=bearer_hub).connect().receive_messages()
    credential = issuer.credential("brief")
    registry = manager(credential)
    client = registry.amqp_svc_client.amqp_client
    # A tenth of the time that tokens have left is less than the second its AMQP counts in.
    client._auth._refresh_window = 2
    registry.send_c2d_message(identity.device_id, "0")
    assert device.next_message().data == b"0"
    link = client.message_handler
    first = credential.given[0]
    # The first tokens and their grace end meanwhile: without a renewal the link would be gone.
    n = 0
    while time.time() < first.expires_on + 2:
        n += 1
        registry.get_device(identity.device_id)
        registry.send_c2d_message(identity.device_id, str(n))
        assert device.next_message().data == str(n).encode()
    assert client.message_handler is link


def new_keys_of_the_issuer_are_taken_without_a_restart_and_the_old_ones_no_longer(
    issuer, manager, identity
):
    old = manager(Fixed(issuer.credential("reader").get_token().token))
    old.get_device(identity.device_id)
    issuer.rotate()
    manager(issuer.credential("reader")).get_device(identity.device_id)
    assert_refused(401, "IotHubUnauthorized", lambda: old.get_device(identity.device_id))
