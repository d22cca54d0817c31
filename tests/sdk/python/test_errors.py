"""What the SDK makes of failures (errors-limits.md §2), and what the hub's log says of them."""

import json
import re
import uuid
from pathlib import Path

import pytest
import requests
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, Twin
from msrest.exceptions import HttpOperationError

from hub import eventually

CATALOGUE = json.loads((Path(__file__).parent.parent / "catalogue.json").read_text())
STATUS_OF = {row["name"]: row["status"] for row in CATALOGUE}

TRACKING = re.compile(r"([0-9a-f]{32})-G:\d+-TimeStamp:\d\d/\d\d/\d{4} \d\d:\d\d:\d\d")


def outcome(call):
    """Status, code and body of a call that the SDK raises its one error for."""
    with pytest.raises(HttpOperationError) as raised:
        call()
    error = raised.value
    response = error.response
    return response.status_code, response.headers["iothub-errorcode"], response.text


def test_failures_that_happen_are_told_with_status_and_code(hub, registry, identity):
    nobody = f"nobody-{uuid.uuid4()}"
    device = identity.device_id
    reader = IoTHubRegistryManager.from_connection_string(hub.policy("registryRead"))
    call = CloudToDeviceMethod(method_name="m", response_timeout_in_seconds=5)
    bad_tag = Twin(tags={"a.b": 1})
    try:
        for code, failing in [
            ("DeviceNotFound", lambda: registry.get_device(nobody)),
            (
                "DeviceAlreadyExists",
                lambda: registry.create_device_with_sas(device, "", "", "enabled"),
            ),
            (
                "ArgumentInvalid",
                lambda: registry.create_device_with_sas("a b", "", "", "enabled"),
            ),
            ("IotHubUnauthorizedAccess", lambda: reader.delete_device(device)),
            ("DeviceNotFound", lambda: registry.get_twin(nobody)),
            ("DeviceNotFound", lambda: registry.get_module_twin(device, "m")),
            ("ModuleNotFound", lambda: registry.get_module(device, "m")),
            ("PreconditionFailed", lambda: registry.update_twin(device, Twin(), "bm9uZQ==")),
            ("ArgumentInvalid", lambda: registry.update_twin(device, bad_tag, "*")),
            ("DeviceNotFound", lambda: registry.invoke_device_method(nobody, call)),
            ("DeviceNotOnline", lambda: registry.invoke_device_method(device, call)),
        ]:
            status, told, body = outcome(failing)
            assert (status, told) == (STATUS_OF[code], code), body
            if code == "DeviceNotOnline":
                inner = json.loads(json.loads(body)["Message"])
                assert (inner["errorCode"], inner["info"]) == (404103, None)
    finally:
        reader.amqp_svc_client.disconnect_sync()


def test_every_cause_is_raised_by_the_sdk_with_its_body():
    """The SDK's one error for all of them shows status and body as they come."""
    for row in CATALOGUE:
        for body in (row["classic"], row["nested"]):
            response = requests.Response()
            response.status_code = row["status"]
            response.reason = row["name"]
            response._content = body.encode()
            error = HttpOperationError(None, response)
            assert error.response.status_code == row["status"]
            assert row["name"] in str(error)
            assert str(row["number"]) in body or row["name"] in body


def test_the_tracking_id_of_a_body_finds_one_line_of_the_log(hub, registry, identity):
    call = CloudToDeviceMethod(method_name="m", response_timeout_in_seconds=5)
    for code, path, failing in [
        ("DeviceNotFound", "/devices/nobody", lambda: registry.get_device("nobody")),
        (
            "DeviceNotOnline",
            f"/twins/{identity.device_id}/methods",
            lambda: registry.invoke_device_method(identity.device_id, call),
        ),
    ]:
        _, _, body = outcome(failing)
        tracking = TRACKING.search(body).group(1)

        def lines():
            return [line for line in hub.log_lines() if tracking in line]

        eventually(lines, "the line of the log")
        (line,) = lines()
        assert code in line and path in line, line
        assert "SharedAccessSignature" not in line
