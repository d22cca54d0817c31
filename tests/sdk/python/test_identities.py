"""Modules, bulk writes and scopes through the service SDK (registry.md §2.1, §3, §4)."""

import uuid

import pytest
from azure.iot.hub.models import ExportImportDevice
from msrest.exceptions import HttpOperationError
from test_registry import assert_refused, chosen_keys, new_id


@pytest.fixture
def module(registry, identity):
    return registry.create_module_with_sas(identity.device_id, "pump", "me", "", "")


def item(device_id, mode, **rest):
    return ExportImportDevice(id=device_id, import_mode=mode, **rest)


def errors(result):
    return [(error.device_id, error.error_code, error.error_status) for error in result.errors]


def a_module_is_made_read_listed_updated_and_deleted(registry, identity, module):
    device_id = identity.device_id
    assert (module.device_id, module.module_id, module.managed_by) == (device_id, "pump", "me")
    read = registry.get_module(device_id, "pump")
    assert read.authentication.symmetric_key.primary_key
    assert read.etag == module.etag
    assert [listed.module_id for listed in registry.get_modules(device_id)] == ["pump"]

    primary, secondary = chosen_keys()

    def update(etag):
        return registry.update_module_with_sas(
            device_id, "pump", "you", etag, primary, secondary
        )

    updated = update(module.etag)
    assert updated.managed_by == "you"
    assert updated.authentication.symmetric_key.primary_key == primary
    assert updated.generation_id == module.generation_id
    assert_refused(412, "PreconditionFailed", lambda: update(module.etag))
    assert_refused(
        412, "PreconditionFailed", lambda: registry.delete_module(device_id, "pump", module.etag)
    )
    registry.delete_module(device_id, "pump", updated.etag)
    assert_refused(404, "ModuleNotFound", lambda: registry.get_module(device_id, "pump"))
    assert registry.get_modules(device_id) == []


def modules_prove_themselves_in_every_way(registry, identity):
    prints = ["aB" * 20, "0c" * 20]
    made = registry.create_module_with_x509(identity.device_id, "x509", "", *prints)
    assert made.authentication.type == "selfSigned"
    assert made.authentication.x509_thumbprint.primary_thumbprint == prints[0]
    updated = registry.update_module_with_certificate_authority(
        identity.device_id, "x509", "", made.etag
    )
    assert updated.authentication.type == "certificateAuthority"
    other = registry.create_module_with_certificate_authority(identity.device_id, "ca", "")
    assert other.authentication.type == "certificateAuthority"
    swapped = registry.update_module_with_x509(
        identity.device_id, "ca", "", other.etag, *prints
    )
    assert swapped.authentication.type == "selfSigned"


def a_module_that_is_there_conflicts(registry, identity, module):
    with pytest.raises(HttpOperationError) as caught:
        registry.create_module_with_sas(identity.device_id, "pump", "", "", "")
    response = caught.value.response
    assert (response.status_code, response.json()["errorCode"]) == (409, 409301)


def a_module_of_a_missing_device_and_a_system_module_are_refused(registry, identity):
    assert_refused(
        401,
        "IotHubUnauthorizedAccess",
        lambda: registry.create_module_with_sas(new_id(), "pump", "", "", ""),
    )
    assert_refused(
        400,
        "ArgumentInvalid",
        lambda: registry.create_module_with_sas(identity.device_id, "$mine", "", "", ""),
    )


def an_edge_device_has_system_modules_and_leaves_name_its_scope(registry):
    edge = registry.create_device_with_sas(new_id(), "", "", "enabled", iot_edge=True)
    assert edge.device_scope == f"ms-azure-iot-edge://{edge.device_id}-{edge.generation_id}"
    modules = {module.module_id: module for module in registry.get_modules(edge.device_id)}
    assert set(modules) == {"$edgeAgent", "$edgeHub"}
    assert all(module.managed_by == "iotEdge" for module in modules.values())
    leaf = registry.create_device_with_sas(
        new_id(), "", "", "enabled", device_scope=edge.device_scope
    )
    assert leaf.parent_scopes == [edge.device_scope]
    child = registry.create_device_with_sas(
        new_id(), "", "", "enabled", iot_edge=True, parent_scopes=[edge.device_scope]
    )
    assert child.parent_scopes == [edge.device_scope]
    stranger = f"ms-azure-iot-edge://{new_id()}-1"
    assert_refused(
        400,
        "InvalidDeviceScope",
        lambda: registry.create_device_with_sas(
            new_id(), "", "", "enabled", device_scope=stranger
        ),
    )


def many_identities_are_made_changed_and_deleted_at_once(registry):
    ids = [new_id() for _ in range(20)]
    made = registry.bulk_create_or_update_devices(
        [item(device_id, "create", tags={"site": "zrh"}) for device_id in ids]
        + [ExportImportDevice(id=ids[0], module_id="pump", import_mode="create")]
    )
    assert (made.is_successful, made.errors) == (True, [])
    assert registry.get_twin(ids[3]).tags == {"site": "zrh"}
    assert registry.get_module(ids[0], "pump").module_id == "pump"
    first = registry.get_device(ids[0])
    changed = registry.bulk_create_or_update_devices(
        [
            item(ids[0], "updateIfMatchETag", e_tag=first.etag, status="disabled"),
            item(ids[1], "updateTwin", tags={"floor": 3}),
        ]
    )
    assert changed.is_successful, errors(changed)
    assert registry.get_device(ids[0]).status == "disabled"
    assert registry.get_twin(ids[1]).tags == {"site": "zrh", "floor": 3}
    gone = registry.bulk_create_or_update_devices([item(device_id, "delete") for device_id in ids])
    assert gone.is_successful
    assert_refused(404, "DeviceNotFound", lambda: registry.get_device(ids[0]))


def items_that_fail_are_told_one_by_one(registry, identity):
    fresh, twice, nobody = new_id(), new_id(), new_id()
    result = registry.bulk_create_or_update_devices(
        [
            item(identity.device_id, "create"),
            item(fresh, "create"),
            item(twice, "create"),
            item(twice, "delete"),
            item(nobody, "update"),
            item(identity.device_id + "x", "deleteIfMatchETag", e_tag="c3RhbGU="),
        ]
    )
    assert not result.is_successful
    names = [(device_id, status) for device_id, _, status in errors(result)]
    assert names == [
        (identity.device_id, "DeviceAlreadyExists"),
        (twice, "DeviceDefinedMultipleTimes"),
        (twice, "DeviceDefinedMultipleTimes"),
        (nobody, "DeviceNotFound"),
        (identity.device_id + "x", "DeviceNotFound"),
    ]
    assert registry.get_device(fresh).device_id == fresh
    many = [item(f"many-{uuid.uuid4()}", "create") for _ in range(101)]
    assert_refused(413, "TooManyDevices", lambda: registry.bulk_create_or_update_devices(many))
