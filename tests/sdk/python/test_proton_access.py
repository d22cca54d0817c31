"""Who gets in by AMQP, with which credential, and for how long (amqp.md §1.3, §3, §4.4)."""

import base64
import uuid

import pytest
from proton import ConnectionException, Delivery, Message

from proton_client import Client, Refused, device_token, policy_token, token

WRONG_KEY = base64.b64encode(b"\x01" * 32).decode()


def address_of(identity, node="messages/devicebound"):
    return f"/devices/{identity.device_id}/{node}"


def assert_refused(condition, attach, *arguments):
    with pytest.raises(Refused) as caught:
        attach(*arguments)
    assert caught.value.condition == condition, caught.value


@pytest.fixture
def anonymous(hub, keep):
    return keep(Client(hub))


@pytest.fixture
def other(registry):
    return registry.create_device_with_sas(f"device-{uuid.uuid4()}", "", "", "enabled")


def a_wrong_password_is_a_failure_of_authentication(hub, identity):
    hub_name = hub.host_name.split(".")[0]
    scope = f"{hub.host_name}/devices/{identity.device_id}"
    for user, password in (
        (f"{identity.device_id}@sas.{hub_name}", token(scope, WRONG_KEY)),
        (f"{identity.device_id}@sas.{hub_name}", device_token(hub, identity, ttl=-600)),
        (f"{identity.device_id}@sas.{hub_name}", "no token"),
        (f"nobody@sas.{hub_name}", device_token(hub, identity)),
        (f"service@sas.root.{hub_name}", token(hub.host_name, WRONG_KEY, "service")),
        (f"iothubowner@sas.root.{hub_name}", policy_token(hub, "service")),
    ):
        with pytest.raises(ConnectionException, match="Authentication failed"):
            Client(hub, user, password)


def a_device_has_its_own_addresses_and_no_others(hub, identity, other, keep):
    client = keep(Client.of_device(hub, identity))
    unauthorized = "amqp:unauthorized-access"
    assert_refused(unauthorized, client.receiver, address_of(other))
    assert_refused(unauthorized, client.sender, address_of(other, "messages/events"))
    assert_refused(unauthorized, client.sender, "/messages/devicebound")
    assert_refused(unauthorized, client.receiver, "/messages/serviceBound/feedback")
    assert_refused("amqp:not-found", client.receiver, "/no/such/address")
    assert_refused("amqp:not-found", client.receiver, address_of(identity, "messages"))
    assert_refused("amqp:not-allowed", client.sender, address_of(identity))
    # None of it has cost the connection.
    assert client.receiver(address_of(identity), 1).is_silent()


def a_policy_has_the_addresses_of_its_permissions(hub, identity, keep):
    back_end = keep(Client.of_policy(hub, "service"))
    assert_refused("amqp:unauthorized-access", back_end.receiver, address_of(identity))
    assert_refused("amqp:not-found", back_end.sender, "/no/such/address")
    assert_refused("amqp:not-allowed", back_end.receiver, "/messages/devicebound")
    pool = keep(Client.of_policy(hub, "device"))
    assert_refused("amqp:unauthorized-access", pool.sender, "/messages/devicebound")
    assert pool.receiver(address_of(identity), 1).is_silent()


@pytest.mark.parametrize("has_sasl", [True, False])
def a_token_put_by_hand_is_answered_under_an_id_of_its_own_type(
    hub, registry, identity, keep, has_sasl
):
    client = keep(Client(hub, sasl_enabled=has_sasl))
    assert_refused("amqp:unauthorized-access", client.receiver, address_of(identity))
    scope = f"{hub.host_name}/devices/{identity.device_id}"
    good = device_token(hub, identity)
    for message_id, text, status in (
        (0, token(scope, WRONG_KEY), 401),
        (uuid.uuid4(), "no token", 401),
        ("request1", good, 200),
        (1 << 40, good, 200),
        (uuid.uuid4(), good, 200),
    ):
        reply = client.put_token(text, message_id)
        assert reply.correlation_id == message_id
        assert type(reply.correlation_id) is type(message_id)
        assert reply.properties["status-code"] == status
        assert reply.properties["status-description"]
    registry.send_c2d_message(identity.device_id, "after the token")
    assert client.receiver(address_of(identity), 1).next().body == b"after the token"
    assert client.put_token(good, b"\x00\xff").correlation_id.tobytes() == b"\x00\xff"


def the_fate_of_one_device_is_not_that_of_another_on_the_same_connection(
    hub, registry, identity, other, anonymous
):
    receivers = []
    for device in (identity, other):
        assert anonymous.put_token(device_token(hub, device), "x").properties["status-code"] == 200
        session = anonymous.new_session()
        receivers.append(anonymous.receiver(address_of(device), 10, session))
    registry.delete_device(identity.device_id)
    assert receivers[0].await_end() == "amqp:not-found"
    registry.send_c2d_message(other.device_id, "still here")
    got = receivers[1].next()
    assert got.body == b"still here"
    assert got.ask(Delivery.ACCEPTED).state == Delivery.ACCEPTED


def a_renewed_token_keeps_the_links_and_an_ended_one_takes_them_away(
    hub, registry, identity, other, anonymous
):
    def show(device, message_id, ttl):
        reply = anonymous.put_token(device_token(hub, device, ttl), message_id)
        assert reply.properties["status-code"] == 200

    def attach(device):
        return anonymous.receiver(address_of(device), 10, anonymous.new_session())

    show(identity, 1, ttl=2)
    show(other, 2, ttl=2)
    kept, lost = attach(identity), attach(other)
    show(identity, 3, ttl=3600)
    assert lost.await_end() == "amqp:unauthorized-access"
    registry.send_c2d_message(identity.device_id, "after the renewal")
    assert kept.next().body == b"after the renewal"


def a_connection_ends_with_the_device_whose_token_was_its_password(
    hub, registry, identity, keep
):
    client = keep(Client.of_device(hub, identity))
    client.receiver(address_of(identity), 1)
    keys = identity.authentication.symmetric_key
    registry.update_device_with_sas(
        identity.device_id, "*", keys.primary_key, keys.secondary_key, "disabled"
    )
    assert client.await_close() == "amqp:unauthorized-access"


def a_connection_ends_with_the_token_that_was_its_password(hub, identity, keep):
    client = keep(Client.of_device(hub, identity, ttl=2))
    telemetry = client.sender(address_of(identity, "messages/events"))
    assert telemetry.send(Message(body=b"{}", inferred=True)).state == Delivery.ACCEPTED
    assert client.await_close() == "amqp:unauthorized-access"
