"""What the hub has accepted survives its sudden death."""

from azure.iot.hub import IoTHubRegistryManager


def messages_accepted_before_a_kill_arrive_in_order_after_the_restart(doomed_hub, make_device):
    owner = doomed_hub.policy("iothubowner")
    registry = IoTHubRegistryManager.from_connection_string(owner)
    identity = registry.create_device_with_sas("survivor", "", "", "enabled")
    for n in range(20):
        registry.send_c2d_message("survivor", str(n))
    doomed_hub.kill()
    doomed_hub.start()

    device = make_device(identity, at=doomed_hub).connect().receive_messages()
    got = [message.data.decode() for message in device.take_messages(20)]
    assert got == [str(n) for n in range(20)]
    assert doomed_hub.policy("iothubowner") == owner
