package downlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.device.MultiplexingClient;
import com.microsoft.azure.sdk.iot.device.exceptions.MultiplexingClientRegistrationException;
import com.microsoft.azure.sdk.iot.device.transport.IotHubConnectionStatus;
import com.microsoft.azure.sdk.iot.device.transport.NoRetry;
import com.microsoft.azure.sdk.iot.device.twin.DirectMethodResponse;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.DeviceStatus;
import downlink.support.BackEnd;
import downlink.support.Bench;
import downlink.support.Hubs;
import downlink.support.OverAmqp;
import downlink.support.TestDevice;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Several devices on one connection, each with its own fate (amqp.md §2.4). */
class MultiplexingTest {
    private final BackEnd backEnd = Hubs.backEnd();

    @OverAmqp
    void every_one_of_many_devices_gets_its_own_messages(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        // On a WebSocket the SDK shows the hub thirty tokens at a time, so more than that.
        int count = transport == IotHubClientProtocol.AMQPS_WS ? 100 : 20;
        List<TestDevice> devices = devices(bench, transport, count);
        MultiplexingClient multiplexer = open(bench, transport, devices);
        assertEquals(count, multiplexer.getRegisteredDeviceCount());
        greet(devices);
        for (TestDevice device : devices.subList(0, 20)) {
            device.client.sendEvent(new Message("reading of " + device.id()));
        }
    }

    @OverAmqp
    void each_device_answers_its_own_calls_and_keeps_its_own_twin(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        List<TestDevice> devices = devices(bench, transport, 5);
        open(bench, transport, devices);
        for (TestDevice device : devices) {
            device.client.subscribeToMethods((name, payload, context) ->
                new DirectMethodResponse(200, Map.of("device", device.id())), null);
            device.client.subscribeToDesiredProperties((twin, context) -> {}, null);
        }
        for (TestDevice device : devices) {
            var twin = new com.microsoft.azure.sdk.iot.service.twin.Twin(device.id());
            twin.getDesiredProperties().put("of", device.id());
            backEnd.twins.patch(twin);
            assertEquals(device.id(), device.twin().getDesiredProperties().get("of"));
            var answer = backEnd.methods.invoke(device.id(), "who");
            assertEquals(Map.of("device", device.id()), answer.getPayload(Map.class));
        }
    }

    @OverAmqp
    void a_device_with_a_wrong_key_is_refused_alone(IotHubClientProtocol transport, Bench bench)
            throws Exception {
        List<TestDevice> devices = devices(bench, transport, 4);
        Device stranger = backEnd.register();
        stranger.getSymmetricKey().setPrimaryKey(backEnd.register().getPrimaryKey());
        TestDevice refused = bench.device(stranger, transport);
        MultiplexingClient multiplexer = open(bench, transport, devices);
        var refusal = assertThrows(MultiplexingClientRegistrationException.class,
            () -> multiplexer.registerDeviceClient(refused.client));
        assertEquals(Set.of(stranger.getDeviceId()), refusal.getRegistrationExceptions().keySet());
        greet(devices);
        multiplexer.registerDeviceClient(bench.device(backEnd.register(), transport).client);
        assertEquals(5, multiplexer.getRegisteredDeviceCount());
    }

    @OverAmqp
    void a_device_that_leaves_leaves_the_others_alone_and_may_come_back(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        List<TestDevice> devices = new ArrayList<>(devices(bench, transport, 5));
        MultiplexingClient multiplexer = open(bench, transport, devices);
        TestDevice leaving = devices.remove(2);
        multiplexer.unregisterDeviceClient(leaving.client);
        backEnd.send(leaving.id(), BackEnd.message("for later"));
        greet(devices);
        assertTrue(leaving.messages.isEmpty());

        TestDevice back = bench.device(backEnd.registry.getDevice(leaving.id()), transport);
        multiplexer.registerDeviceClient(back.client);
        assertEquals("for later", back.nextText());
    }

    @OverAmqp
    void a_device_that_is_deleted_or_disabled_loses_its_links_alone(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        List<TestDevice> devices = new ArrayList<>(devices(bench, transport, 6));
        devices.forEach(device -> device.client.setRetryPolicy(new NoRetry()));
        MultiplexingClient multiplexer = open(bench, transport, devices);
        TestDevice deleted = devices.remove(1);
        TestDevice disabled = devices.remove(3);
        backEnd.registry.removeDevice(deleted.id());
        Device identity = backEnd.registry.getDevice(disabled.id());
        identity.setStatus(DeviceStatus.Disabled);
        backEnd.registry.updateDevice(identity);
        deleted.awaitStatus(IotHubConnectionStatus.DISCONNECTED);
        disabled.awaitStatus(IotHubConnectionStatus.DISCONNECTED);
        greet(devices);
        multiplexer.registerDeviceClient(bench.device(backEnd.register(), transport).client);
        greet(devices);
    }

    @OverAmqp
    void a_device_that_connects_elsewhere_is_taken_over_alone(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        List<Device> identities = List.of(backEnd.register(), backEnd.register());
        TestDevice stays = bench.device(identities.get(0), transport);
        TestDevice moves = bench.device(identities.get(1), transport);
        moves.client.setRetryPolicy(new NoRetry());
        open(bench, transport, List.of(stays, moves));
        TestDevice moved = bench.device(identities.get(1), IotHubClientProtocol.MQTT).open();
        moves.awaitStatus(IotHubConnectionStatus.DISCONNECTED);
        greet(List.of(stays, moved));
    }

    private List<TestDevice> devices(Bench bench, IotHubClientProtocol transport, int count) {
        return BackEnd.registerAt(Hubs.devices(), count).stream()
            .map(identity -> bench.device(identity, transport))
            .toList();
    }

    private static MultiplexingClient open(
            Bench bench, IotHubClientProtocol transport, List<TestDevice> devices)
            throws Exception {
        return bench.multiplex(Hubs.devices(), transport, devices);
    }

    /** Sends each device a message of its own and waits until it has it. */
    private void greet(List<TestDevice> devices) throws Exception {
        var sending = devices.stream()
            .map(each -> backEnd.sending(each.id(), BackEnd.message("for " + each.id())))
            .toList();
        for (var each : sending) {
            each.join();
        }
        for (TestDevice device : devices) {
            assertEquals("for " + device.id(), device.nextText());
        }
    }
}
