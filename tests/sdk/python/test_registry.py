"""Device identities through the service SDK (registry.md)."""

import base64
import uuid

import pytest
from msrest.exceptions import HttpOperationError

from hub import eventually


def new_id():
    return f"device-{uuid.uuid4()}"


def chosen_keys():
    return [base64.b64encode(word.ljust(32, b".")).decode() for word in (b"primary", b"secondary")]


def assert_refused(status, name, call):
    with pytest.raises(HttpOperationError) as caught:
        call()
    assert caught.value.response.status_code == status, caught.value.response.text
    assert caught.value.response.headers["iothub-errorcode"] == name


def a_device_made_with_empty_keys_gets_two_from_the_hub(registry):
    made = registry.create_device_with_sas(new_id(), "", "", "enabled")
    keys = made.authentication.symmetric_key
    assert len(base64.b64decode(keys.primary_key)) == 32
    assert len(base64.b64decode(keys.secondary_key)) == 32
    assert keys.primary_key != keys.secondary_key
    read = registry.get_device(made.device_id)
    assert read.authentication.symmetric_key.primary_key == keys.primary_key
    assert (read.status, read.etag) == ("enabled", made.etag)


def a_device_keeps_the_keys_its_maker_chose(registry):
    primary, secondary = chosen_keys()
    made = registry.create_device_with_sas(
        new_id(), primary, secondary, "disabled", status_reason="not yet shipped"
    )
    keys = made.authentication.symmetric_key
    assert (keys.primary_key, keys.secondary_key) == (primary, secondary)
    assert (made.status, made.status_reason) == ("disabled", "not yet shipped")


def an_update_with_the_current_etag_is_made_and_with_a_stale_one_refused(registry):
    primary, secondary = chosen_keys()
    made = registry.create_device_with_sas(new_id(), primary, secondary, "enabled")

    def disable(etag):
        return registry.update_device_with_sas(
            made.device_id, etag, primary, secondary, "disabled"
        )

    updated = disable(made.etag)
    assert updated.status == "disabled"
    assert updated.etag != made.etag
    assert updated.generation_id == made.generation_id
    assert_refused(412, "PreconditionFailed", lambda: disable(made.etag))


def a_delete_with_a_stale_etag_is_refused_and_with_the_current_one_made(registry):
    primary, secondary = chosen_keys()
    made = registry.create_device_with_sas(new_id(), primary, secondary, "enabled")
    updated = registry.update_device_with_sas(
        made.device_id, made.etag, primary, secondary, "disabled"
    )
    assert_refused(
        412, "PreconditionFailed", lambda: registry.delete_device(made.device_id, made.etag)
    )
    registry.delete_device(made.device_id, updated.etag)
    assert_refused(404, "DeviceNotFound", lambda: registry.get_device(made.device_id))


def a_device_cannot_be_made_twice(registry, identity):
    assert_refused(
        409,
        "DeviceAlreadyExists",
        lambda: registry.create_device_with_sas(identity.device_id, "", "", "enabled"),
    )


def the_list_and_the_statistics_hold_what_was_made(registry):
    before = registry.get_device_registry_statistics()
    made = [registry.create_device_with_sas(new_id(), "", "", "enabled") for _ in range(3)]
    listed = {device.device_id for device in registry.get_devices(1000)}
    assert {device.device_id for device in made} <= listed
    assert len(registry.get_devices(2)) == 2

    def counted():
        now = registry.get_device_registry_statistics()
        return (
            now.total_device_count == before.total_device_count + 3
            and now.enabled_device_count == before.enabled_device_count + 3
        )

    eventually(counted, "the statistics to count three more")


def the_service_statistics_count_a_connected_device(registry, identity, make_device):
    def connected():
        return registry.get_service_statistics().connected_device_count

    # Gateways tell each other every few seconds how many they hold.
    eventually(lambda: connected() == 0, "the devices of other tests to be gone")
    make_device(identity).connect()
    eventually(lambda: connected() == 1, "the connected device to be counted")


def ids_differ_by_case(registry):
    name = uuid.uuid4().hex
    registry.create_device_with_sas(f"Case-{name}", "", "", "enabled")
    registry.create_device_with_sas(f"case-{name}", "", "", "disabled")
    assert registry.get_device(f"Case-{name}").status == "enabled"
