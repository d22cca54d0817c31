"""Who may connect, who wins, and what survives a new token (auth.md, mqtt.md §4)."""

import base64

import pytest
from azure.iot.device.exceptions import CredentialError

WRONG_KEY = base64.b64encode(b"\x01" * 32).decode()


def assert_refused(device):
    with pytest.raises(CredentialError):
        device.client.connect()


def a_device_with_a_wrong_key_is_refused_with_the_credential_error(hub, identity, make_device):
    string = f"HostName={hub.host_name};DeviceId={identity.device_id};SharedAccessKey={WRONG_KEY}"
    assert_refused(make_device(string))


def an_unknown_device_is_refused_with_the_credential_error(hub, make_device):
    string = f"HostName={hub.host_name};DeviceId=nobody;SharedAccessKey={WRONG_KEY}"
    assert_refused(make_device(string))


def a_disabled_device_is_refused_until_it_is_enabled_again(registry, identity, make_device):
    keys = identity.authentication.symmetric_key

    def set_status(status):
        registry.update_device_with_sas(
            identity.device_id, "*", keys.primary_key, keys.secondary_key, status
        )

    set_status("disabled")
    assert_refused(make_device(identity))
    set_status("enabled")
    assert make_device(identity).connect().client.connected


def disabling_a_device_closes_its_connection(registry, identity, make_device):
    device = make_device(identity, connection_retry=False).connect()
    device.await_state(True)
    keys = identity.authentication.symmetric_key
    registry.update_device_with_sas(
        identity.device_id, "*", keys.primary_key, keys.secondary_key, "disabled"
    )
    device.await_state(False)


def a_second_connection_with_the_same_id_takes_over(registry, identity, make_device):
    first = make_device(identity, connection_retry=False).connect().receive_messages()
    first.await_state(True)
    second = make_device(identity).connect().receive_messages()
    first.await_state(False)
    registry.send_c2d_message(identity.device_id, "to the newer one")
    assert second.next_message().data == b"to the newer one"
    assert first.messages.empty()


def a_new_token_keeps_the_subscriptions_although_the_sdk_does_not_subscribe_again(
    registry, identity, make_device
):
    # The SDK renews 120 seconds before the end: here two seconds after the start.
    device = make_device(identity, sastoken_ttl=122).connect().receive_messages().follow_desired()
    device.await_state(True)
    device.await_state(False)
    device.await_state(True)
    registry.send_c2d_message(identity.device_id, "after the renewal")
    assert device.next_message().data == b"after the renewal"
