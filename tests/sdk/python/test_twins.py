"""Device twins between the service SDK and devices (twins.md)."""

import pytest
from azure.iot.hub.models import Twin, TwinProperties
from msrest.exceptions import HttpOperationError


def desire(registry, identity, desired, etag="*"):
    patch = Twin(properties=TwinProperties(desired=desired))
    return registry.update_twin(identity.device_id, patch, etag)


def null_deletes_a_property_and_the_device_is_told_so(registry, identity, make_device):
    desire(registry, identity, {"keep": 1, "drop": 2})
    device = make_device(identity).connect().follow_desired()
    after = desire(registry, identity, {"drop": None})
    assert "drop" not in after.properties.desired
    assert device.changes.get(timeout=15) == {"drop": None, "$version": 3}


def the_device_reads_its_whole_twin_after_a_change_it_missed(registry, identity, make_device):
    for n in (1, 2, 3):
        desire(registry, identity, {"n": n})
    twin = make_device(identity).connect().client.get_twin()
    assert twin["desired"] == {"n": 3, "$version": 4}
    assert twin["reported"] == {"$version": 1}


def a_replacement_removes_what_it_does_not_name(registry, identity, make_device):
    desire(registry, identity, {"old": 1, "both": 1})
    device = make_device(identity).connect().follow_desired()
    whole = Twin(tags={"site": "zrh"}, properties=TwinProperties(desired={"both": 2}))
    replaced = registry.replace_twin(identity.device_id, whole, "*")
    assert "old" not in replaced.properties.desired
    assert replaced.properties.desired["both"] == 2
    assert replaced.tags == {"site": "zrh"}
    change = device.changes.get(timeout=15)
    assert (change["both"], change["$version"]) == (2, 3)


def a_stale_etag_is_refused_and_changes_nothing(registry, identity):
    etag = registry.get_twin(identity.device_id).etag
    desire(registry, identity, {"n": 1}, etag)
    with pytest.raises(HttpOperationError) as caught:
        desire(registry, identity, {"n": 2}, etag)
    assert caught.value.response.status_code == 412
    assert caught.value.response.headers["iothub-errorcode"] == "PreconditionFailed"
    assert registry.get_twin(identity.device_id).properties.desired["n"] == 1


def what_the_device_reports_is_read_by_the_back_end(registry, identity, make_device):
    device = make_device(identity).connect()
    device.client.patch_twin_reported_properties({"battery": {"level": 87, "charging": True}})
    device.client.patch_twin_reported_properties({"battery": {"charging": None}})
    reported = registry.get_twin(identity.device_id).properties.reported
    assert reported["battery"] == {"level": 87}
    assert reported["$version"] == 3


def tags_never_reach_the_device(registry, identity, make_device):
    registry.update_twin(identity.device_id, Twin(tags={"secret": "x"}), "*")
    twin = make_device(identity).connect().client.get_twin()
    assert set(twin) == {"desired", "reported"}


def the_twin_of_an_unknown_device_is_not_found(registry):
    with pytest.raises(HttpOperationError) as caught:
        registry.get_twin("nobody")
    assert caught.value.response.status_code == 404
    assert caught.value.response.headers["iothub-errorcode"] == "DeviceNotFound"
