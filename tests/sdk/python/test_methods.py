"""Direct methods from the service SDK to devices (methods.md)."""

import json
import queue
import threading
import time

import pytest
from azure.iot.hub.models import CloudToDeviceMethod
from azure.iot.hub.protocol.models import CloudToDeviceMethodResult
from msrest.exceptions import HttpOperationError


def invoke(registry, identity_or_id, name, payload=None, connect=0, response=10):
    device_id = getattr(identity_or_id, "device_id", identity_or_id)
    call = CloudToDeviceMethod(
        method_name=name,
        payload=payload,
        connect_timeout_in_seconds=connect,
        response_timeout_in_seconds=response,
    )
    return registry.invoke_device_method(device_id, call)


def assert_fails(status, number, name, call):
    """Asserts the status, the header and the number inside the nested body of a failed call."""
    with pytest.raises(HttpOperationError) as caught:
        call()
    answer = caught.value.response
    assert answer.status_code == status, answer.text
    assert answer.headers["iothub-errorcode"] == name
    assert json.loads(json.loads(answer.text)["Message"])["errorCode"] == number


def every_kind_of_json_value_travels_both_ways_unchanged(registry, identity, make_device):
    device = make_device(identity).connect()
    device.answer_methods(lambda request: (200, request.payload))
    # The SDK leaves `None` out of the request; what is left out has no value to echo.
    for payload in [True, 0, -7.25, "grüezi", "", [1, [2, "x"]], {"a": {"b": [None, {}]}}]:
        answer = invoke(registry, identity, "echo", payload)
        assert isinstance(answer, CloudToDeviceMethodResult)
        assert (answer.status, answer.payload) == (200, payload)


def a_method_on_an_offline_device_fails_at_once_with_the_not_online_error(registry, identity):
    started = time.monotonic()
    assert_fails(404, 404103, "DeviceNotOnline", lambda: invoke(registry, identity, "reboot"))
    assert time.monotonic() - started < 1


def a_method_on_an_offline_device_fails_after_the_connect_timeout(registry, identity):
    started = time.monotonic()
    assert_fails(
        404, 404103, "DeviceNotOnline", lambda: invoke(registry, identity, "reboot", connect=2)
    )
    assert 1.9 <= time.monotonic() - started < 4


def a_device_that_connects_within_the_connect_timeout_gets_the_call(
    registry, identity, make_device
):
    answers = queue.Queue()
    call = threading.Thread(
        target=lambda: answers.put(invoke(registry, identity, "wake", connect=9)), daemon=True
    )
    call.start()
    make_device(identity).connect().answer_methods(lambda request: (200, "awake"))
    answer = answers.get(timeout=15)
    assert (answer.status, answer.payload) == (200, "awake")


def a_device_that_does_not_answer_in_time_gives_a_gateway_timeout(registry, identity, make_device):
    make_device(identity).connect().answer_methods(lambda request: None)
    assert_fails(
        504, 504101, "GatewayTimeout", lambda: invoke(registry, identity, "slow", response=5)
    )


def a_method_on_an_unknown_device_is_not_found(registry):
    assert_fails(404, 404001, "DeviceNotFound", lambda: invoke(registry, "nobody", "reboot"))
