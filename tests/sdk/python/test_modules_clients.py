"""Modules as clients, and digital twins (twins.md, methods.md)."""

import queue
import uuid

import pytest
from azure.iot.device import IoTHubModuleClient, MethodResponse
from azure.iot.hub import DigitalTwinClient
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from msrest.exceptions import HttpOperationError


@pytest.fixture
def module(registry, identity):
    """A new module with keys chosen by the hub."""
    name = f"module-{uuid.uuid4()}"
    return registry.create_module_with_sas(identity.device_id, name, "", "", "")


@pytest.fixture
def client(hub, module, keep):
    """The module's client, connected."""
    key = module.authentication.symmetric_key.primary_key
    string = (
        f"HostName={hub.host_name};DeviceId={module.device_id};"
        f"ModuleId={module.module_id};SharedAccessKey={key}"
    )
    client = IoTHubModuleClient.create_from_connection_string(
        string, server_verification_cert=hub.ca_file.read_text()
    )
    client.close = client.shutdown
    keep(client).connect()
    return client


def a_module_hears_of_desired_changes_and_reports(registry, module, client):
    changes = queue.Queue()
    client.on_twin_desired_properties_patch_received = changes.put
    patch = Twin(properties=TwinProperties(desired={"rate": 5}))
    registry.update_module_twin(module.device_id, module.module_id, patch, "*")
    assert changes.get(timeout=15) == {"rate": 5, "$version": 2}
    client.patch_twin_reported_properties({"rate": 5})
    twin = registry.get_module_twin(module.device_id, module.module_id)
    assert twin.module_id == module.module_id
    assert twin.properties.reported["rate"] == 5
    assert client.get_twin()["desired"] == {"rate": 5, "$version": 2}
    assert registry.get_twin(module.device_id).version == 2


def a_twin_of_a_module_is_replaced(registry, module):
    whole = Twin(tags={"site": "zrh"}, properties=TwinProperties(desired={"a": 1}))
    registry.replace_module_twin(module.device_id, module.module_id, whole, "*")
    whole = Twin(properties=TwinProperties(desired={"b": 2}))
    twin = registry.replace_module_twin(module.device_id, module.module_id, whole, "*")
    assert "a" not in twin.properties.desired
    assert twin.properties.desired["b"] == 2
    assert not twin.tags


def a_module_answers_methods(registry, module, client):
    def answer(request):
        response = MethodResponse.create_from_method_request(request, 200, request.payload * 2)
        client.send_method_response(response)

    client.on_method_request_received = answer
    call = CloudToDeviceMethod(
        method_name="double", payload=21, response_timeout_in_seconds=10,
        connect_timeout_in_seconds=10,
    )
    answered = registry.invoke_device_module_method(module.device_id, module.module_id, call)
    assert (answered.status, answered.payload) == (200, 42)


def a_module_that_does_not_exist_fails_as_the_contract_says(registry, identity):
    with pytest.raises(HttpOperationError) as caught:
        registry.get_module_twin(identity.device_id, "nothing")
    assert caught.value.response.headers["iothub-errorcode"] == "DeviceNotFound"
    call = CloudToDeviceMethod(method_name="reboot", response_timeout_in_seconds=5)
    with pytest.raises(HttpOperationError) as caught:
        registry.invoke_device_module_method(identity.device_id, "nothing", call)
    assert caught.value.response.headers["iothub-errorcode"] == "ModuleNotFound"


def a_digital_twin_is_read_wished_for_and_commanded(hub, registry, identity, make_device):
    digital = DigitalTwinClient.from_connection_string(hub.policy("iothubowner"))
    read = digital.get_digital_twin(identity.device_id)
    assert read == {"$dtId": identity.device_id, "$metadata": {"$model": ""}}
    patch = [{"op": "add", "path": "/targetTemperature", "value": 42}]
    digital.update_digital_twin(identity.device_id, patch)
    assert registry.get_twin(identity.device_id).properties.desired["targetTemperature"] == 42
    make_device(identity).connect().answer_methods(lambda request: (202, {"in": request.payload}))
    answer = digital.invoke_command(identity.device_id, "reboot", 3, 5, 10)
    assert answer == {"in": 3}
