package downlink.support;

import com.microsoft.azure.sdk.iot.device.ClientOptions;
import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.MultiplexingClient;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.concurrent.TimeUnit;

/** What one test makes and leaves behind: closed when it ends, the last one first. */
public final class Bench {
    private final ConcurrentLinkedDeque<AutoCloseable> made = new ConcurrentLinkedDeque<>();

    /** Keeps something to be closed when the test ends. */
    public <T extends AutoCloseable> T keep(T thing) {
        made.push(thing);
        return thing;
    }

    /** A client of that identity, not opened, on {@link Hubs#devices}. */
    public TestDevice device(Device identity, IotHubClientProtocol transport) {
        return device(identity, transport, Hubs.devices().hostName(), null);
    }

    /** A client of that identity, not opened, that reaches its hub by that name. */
    public TestDevice device(
            Device identity, IotHubClientProtocol transport, String host, ClientOptions options) {
        return keep(new TestDevice(connectionString(identity, host), transport, options));
    }

    /** A client with a key of the caller's choice, not opened, on {@link Hubs#devices}. */
    public TestDevice device(String deviceId, String key, IotHubClientProtocol transport) {
        String connection = connectionString(deviceId, Hubs.devices().hostName(), key);
        return keep(new TestDevice(connection, transport, null));
    }

    /** A client that shows a certificate, not opened, on {@link Hubs#devices}. */
    public TestDevice device(String deviceId, Identity shown, IotHubClientProtocol transport)
            throws Exception {
        return device(deviceId, shown, transport, Hubs.devices().hostName());
    }

    /** The same by a name of the caller's choice. */
    public TestDevice device(
            String deviceId, Identity shown, IotHubClientProtocol transport, String host)
            throws Exception {
        ClientOptions options = ClientOptions.builder().sslContext(Hubs.showing(shown)).build();
        String connection = "HostName=" + host + ";DeviceId=" + deviceId + ";x509=true";
        return keep(new TestDevice(connection, transport, options));
    }

    /** A new identity and its client, which is open. */
    public TestDevice connect(IotHubClientProtocol transport) throws Exception {
        return device(Hubs.backEnd().register(), transport).open();
    }

    /** Puts clients on one connection of their own, which is open. */
    public MultiplexingClient multiplex(
            Hub hub, IotHubClientProtocol transport, List<TestDevice> devices) throws Exception {
        return multiplex(hub.hostName(), transport, devices);
    }

    /** The same by a name of the caller's choice. */
    public MultiplexingClient multiplex(
            String host, IotHubClientProtocol transport, List<TestDevice> devices)
            throws Exception {
        MultiplexingClient multiplexer = new MultiplexingClient(host, transport);
        keep(multiplexer::close);
        multiplexer.registerDeviceClients(devices.stream().map(each -> each.client).toList());
        multiplexer.open(false);
        return multiplexer;
    }

    /** The connection string of an identity. */
    public static String connectionString(Device identity, String host) {
        return connectionString(identity.getDeviceId(), host, identity.getPrimaryKey());
    }

    /** The connection string of an identity with a key of the caller's choice. */
    public static String connectionString(String deviceId, String host, String key) {
        return "HostName=" + host + ";DeviceId=" + deviceId + ";SharedAccessKey=" + key;
    }

    /** Closes what was kept; a client that does not close in time is left to the end of the JVM. */
    void clear() {
        for (AutoCloseable thing : made) {
            try {
                CompletableFuture.runAsync(() -> close(thing)).get(15, TimeUnit.SECONDS);
            } catch (Exception failure) {
                System.out.println("        a client of a test did not close: " + failure);
            }
        }
    }

    private static void close(AutoCloseable thing) {
        try {
            thing.close();
        } catch (Exception failure) {
            throw new IllegalStateException(failure);
        }
    }
}
