"""The service SDK's own AMQP: how long it may, and what is kept for it (amqp.md §3.4, §8)."""

import time

import pytest
from azure.iot.hub import IoTHubRegistryManager, iothub_amqp_client
from uamqp import TransportType

from hub import eventually
from proton_client import Client

TTL = 3
"""Seconds the tokens of an impatient back-end last."""


@pytest.fixture
def impatient(hub, monkeypatch):
    """Back-ends whose tokens end soon, on TCP and in a WebSocket."""
    # The SDK has no option for it, only a default.
    monkeypatch.setattr(iothub_amqp_client, "default_sas_expiry", TTL)
    managers = [
        IoTHubRegistryManager.from_connection_string(hub.policy("service"), transport_type=kind)
        for kind in (TransportType.Amqp, TransportType.AmqpOverWebsocket)
    ]
    for manager in managers:
        # A tenth of the time that tokens have left is less than the second its AMQP counts in.
        manager.amqp_svc_client.amqp_client._auth._refresh_window = 2
    yield managers
    for manager in managers:
        manager.amqp_svc_client.disconnect_sync()


def tokens_are_renewed_and_no_message_is_lost_meanwhile(impatient, hub, identity, keep):
    receiver = keep(Client.of_device(hub, identity)).receiver(
        f"/devices/{identity.device_id}/messages/devicebound", 1000
    )
    clients = [manager.amqp_svc_client.amqp_client for manager in impatient]

    def exchange(n):
        for manager in impatient:
            manager.send_c2d_message(identity.device_id, str(n))
            got = receiver.next()
            assert got.body == str(n).encode()
            got.accept()

    exchange(0)
    before = [(client._auth.token, client.message_handler) for client in clients]
    # The first tokens and their grace end meanwhile: without a renewal the links would be gone.
    end = time.monotonic() + TTL + 1.5
    n = 0
    while time.monotonic() < end:
        n += 1
        exchange(n)
    for client, (token, link) in zip(clients, before):
        assert client._auth.token != token
        assert client.message_handler is link


def a_message_that_nobody_takes_is_gone_when_its_sender_says(registry, identity):
    soon = int(time.time() * 1000) + 1000
    registry.send_c2d_message(identity.device_id, "x", {"expiryTimeUtc": soon})
    registry.send_c2d_message(identity.device_id, "y")

    def count():
        return registry.get_device(identity.device_id).cloud_to_device_message_count

    assert count() == 2
    eventually(lambda: count() == 1, "the message to expire")
