package downlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.device.ClientOptions;
import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.IotHubStatusCode;
import com.microsoft.azure.sdk.iot.device.exceptions.IotHubClientException;
import com.microsoft.azure.sdk.iot.device.transport.IotHubConnectionStatus;
import com.microsoft.azure.sdk.iot.device.transport.NoRetry;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.DeviceConnectionState;
import com.microsoft.azure.sdk.iot.service.registry.DeviceStatus;
import downlink.support.BackEnd;
import downlink.support.Bench;
import downlink.support.Hubs;
import downlink.support.OverEveryProtocol;
import downlink.support.OverEveryTransport;
import downlink.support.TestDevice;
import downlink.support.Waiting;
import java.time.Instant;

/** Who may connect, and what ends a connection (auth.md). */
class AccessTest {
    private final BackEnd backEnd = Hubs.backEnd();

    @OverEveryTransport
    void a_device_is_connected_from_open_to_close(IotHubClientProtocol transport, Bench bench)
            throws Exception {
        TestDevice device = bench.connect(transport);
        awaitState(device.id(), DeviceConnectionState.Connected);
        device.close();
        awaitState(device.id(), DeviceConnectionState.Disconnected);
    }

    @OverEveryTransport
    void the_secondary_key_opens_as_the_primary_one_does(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        Device identity = backEnd.register();
        identity.getSymmetricKey().setPrimaryKey(identity.getSecondaryKey());
        TestDevice device = bench.device(identity, transport).open();
        backEnd.send(device.id(), BackEnd.message("for whoever holds a key"));
        assertEquals("for whoever holds a key", device.nextText());
    }

    @OverEveryTransport
    void a_wrong_key_is_refused_as_unauthorized(IotHubClientProtocol transport, Bench bench)
            throws Exception {
        Device identity = backEnd.register();
        identity.getSymmetricKey().setPrimaryKey(backEnd.register().getPrimaryKey());
        assertRefused(bench.device(identity, transport));
    }

    @OverEveryTransport
    void an_unknown_device_is_refused_as_unauthorized(IotHubClientProtocol transport, Bench bench)
            throws Exception {
        Device identity = backEnd.register();
        backEnd.registry.removeDevice(identity.getDeviceId());
        assertRefused(bench.device(identity, transport));
    }

    @OverEveryTransport
    void a_disabled_device_is_refused_and_connects_once_it_is_enabled(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        Device identity = backEnd.register();
        identity.setStatus(DeviceStatus.Disabled);
        Device disabled = backEnd.registry.updateDevice(identity);
        assertRefused(bench.device(identity, transport));
        disabled.setStatus(DeviceStatus.Enabled);
        backEnd.registry.updateDevice(disabled);
        bench.device(identity, transport).open();
    }

    @OverEveryTransport
    void a_newer_connection_takes_over_from_the_older_one(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        Device identity = backEnd.register();
        TestDevice older = bench.device(identity, transport);
        older.client.setRetryPolicy(new NoRetry());
        older.open();
        TestDevice newer = bench.device(identity, transport).open();
        older.awaitStatus(IotHubConnectionStatus.DISCONNECTED);
        backEnd.send(newer.id(), BackEnd.message("for the newer one"));
        assertEquals("for the newer one", newer.nextText());
    }

    @OverEveryTransport
    void deleting_a_device_ends_its_connection(IotHubClientProtocol transport, Bench bench)
            throws Exception {
        TestDevice device = bench.connect(transport);
        device.client.setRetryPolicy(new NoRetry());
        backEnd.registry.removeDevice(device.id());
        device.awaitStatus(IotHubConnectionStatus.DISCONNECTED);
    }

    @OverEveryTransport
    void a_client_may_be_given_a_tls_context_that_trusts_the_hub(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        ClientOptions trusting = ClientOptions.builder().sslContext(Hubs.trusting()).build();
        String host = Hubs.devices().hostName();
        bench.device(backEnd.register(), transport, host, trusting).open();
    }

    @OverEveryTransport
    void a_client_that_does_not_trust_the_hub_does_not_connect(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        ClientOptions strict = ClientOptions.builder().sslContext(Hubs.distrusting()).build();
        String host = Hubs.devices().hostName();
        TestDevice device = bench.device(backEnd.register(), transport, host, strict);
        assertThrows(IotHubClientException.class, device::open);
    }

    @OverEveryProtocol
    void no_message_is_lost_while_the_client_renews_its_token(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        ClientOptions brief = ClientOptions.builder().sasTokenExpiryTime(8).build();
        String host = Hubs.devices().hostName();
        TestDevice device = bench.device(backEnd.register(), transport, host, brief).open();
        // The first token and the grace after it end before the messages do.
        Instant end = Instant.now().plusSeconds(11);
        for (int n = 0; Instant.now().isBefore(end); n += 1) {
            backEnd.send(device.id(), BackEnd.message("message " + n));
            String text = device.nextText();
            // Over MQTT a renewal is a new connection: what the old one had no time to acknowledge comes again.
            while (transport.name().startsWith("MQTT") && text.equals("message " + (n - 1))) {
                text = device.nextText();
            }
            assertEquals("message " + n, text);
        }
        if (transport.name().startsWith("AMQPS")) {
            device.awaitStatus(IotHubConnectionStatus.CONNECTED);
            assertTrue(device.statuses.isEmpty(), "the connection outlives its tokens");
        }
    }

    private void awaitState(String deviceId, DeviceConnectionState state) throws Exception {
        Waiting.until(deviceId + " to be " + state,
            () -> backEnd.registry.getDevice(deviceId).getConnectionState() == state);
    }

    private static void assertRefused(TestDevice device) {
        IotHubClientException refusal = assertThrows(IotHubClientException.class, device::open);
        assertEquals(IotHubStatusCode.UNAUTHORIZED, refusal.getStatusCode(), refusal.toString());
    }
}
