"""What the article's sample does, both sides in Python: message, method, desired properties."""

import json
import time

from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties


def a_back_end_commands_a_device_by_message_method_and_desired_property(
    registry, identity, make_device
):
    device = make_device(identity).connect().receive_messages().follow_desired()
    device.answer_methods(lambda request: (200, {"rebooted": True, "after": request.payload["delay"]}))

    # The message.
    expiry = int(time.time() * 1000) + 600_000
    registry.send_c2d_message(
        identity.device_id,
        json.dumps({"fan": "high"}),
        {"messageId": "command-1", "iothub-ack": "full", "expiryTimeUtc": expiry, "color": "red"},
    )
    message = device.next_message()
    assert json.loads(message.data) == {"fan": "high"}
    assert message.message_id == "command-1"
    assert message.ack == "full"
    assert message.custom_properties == {"color": "red"}
    assert message.expiry_time_utc.startswith(time.strftime("%Y-%m-%dT%H:", time.gmtime(expiry / 1000)))

    # The method.
    answer = registry.invoke_device_method(
        identity.device_id,
        CloudToDeviceMethod(
            method_name="reboot",
            payload={"delay": 3},
            response_timeout_in_seconds=10,
            connect_timeout_in_seconds=5,
        ),
    )
    assert answer.status == 200
    assert answer.payload == {"rebooted": True, "after": 3}
    request = device.calls.get(timeout=1)
    assert (request.name, request.payload) == ("reboot", {"delay": 3})

    # The desired property.
    patch = Twin(properties=TwinProperties(desired={"interval": 30}))
    registry.update_twin(identity.device_id, patch, "*")
    change = device.changes.get(timeout=15)
    assert change == {"interval": 30, "$version": 2}
    device.client.patch_twin_reported_properties({"interval": change["interval"]})
    twin = registry.get_twin(identity.device_id)
    assert twin.properties.reported["interval"] == 30
    assert twin.properties.desired["interval"] == 30
