package downlink.support;

import com.microsoft.azure.sdk.iot.device.ClientOptions;
import com.microsoft.azure.sdk.iot.device.ConnectionStatusChangeContext;
import com.microsoft.azure.sdk.iot.device.DeviceClient;
import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.IotHubMessageResult;
import com.microsoft.azure.sdk.iot.device.IotHubStatusCode;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.device.exceptions.IotHubClientException;
import com.microsoft.azure.sdk.iot.device.transport.IotHubConnectionStatus;
import com.microsoft.azure.sdk.iot.device.twin.Twin;
import com.microsoft.azure.sdk.iot.device.twin.TwinCollection;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.function.Function;

/** The SDK's device client with what it hears kept in inboxes. */
public final class TestDevice implements AutoCloseable {
    /** Milliseconds until the SDK gives up an answer. */
    private static final int SDK_PATIENCE = 4_000;

    /** The SDK's client. */
    public final DeviceClient client;
    /** Messages as they came, each before the device's verdict on it. */
    public final Inbox<Message> messages = new Inbox<>();
    /** What the client said of its connection. */
    public final Inbox<ConnectionStatusChangeContext> statuses = new Inbox<>();
    private volatile Function<Message, IotHubMessageResult> verdict =
        message -> IotHubMessageResult.COMPLETE;

    TestDevice(String connectionString, IotHubClientProtocol transport, ClientOptions options) {
        client = options == null
            ? new DeviceClient(connectionString, transport)
            : new DeviceClient(connectionString, transport, options);
        client.setConnectionStatusChangeCallback(statuses::add, null);
        client.setMessageCallback((message, context) -> judge(message), null);
    }

    /** Opens the connection; the SDK makes one attempt. */
    public TestDevice open() throws IotHubClientException {
        client.open(false);
        return this;
    }

    /** What the device makes of each message; without this it completes them. */
    public TestDevice settles(Function<Message, IotHubMessageResult> how) {
        verdict = how;
        return this;
    }

    /** The identity's id. */
    public String id() {
        return client.getConfig().getDeviceId();
    }

    /** The text of the oldest message nobody has looked at. */
    public String nextText() throws InterruptedException {
        return textOf(messages.next("a message for " + id()));
    }

    /** The texts of the oldest messages nobody has looked at. */
    public List<String> nextTexts(int count) throws InterruptedException {
        return messages.take(count, "messages").stream().map(TestDevice::textOf).toList();
    }

    /** Waits until the client says that its connection is in that state. */
    public ConnectionStatusChangeContext awaitStatus(IotHubConnectionStatus wanted)
            throws InterruptedException {
        return statuses.find("the client to be " + wanted, s -> s.getNewStatus() == wanted);
    }

    /** Reads the twin. */
    public Twin twin() throws Exception {
        return answered(() -> client.getTwin(SDK_PATIENCE));
    }

    /** Reports properties, and returns the version that they have now. */
    public int report(TwinCollection properties) throws Exception {
        return answered(() -> client.updateReportedProperties(properties, SDK_PATIENCE))
            .getVersion();
    }

    /**
     * Asks up to five times: the SDK loses the answer where its receiving thread forgets a
     * request, because it is done with it, before the thread that reads from the network has
     * looked it up.
     */
    public static <T> T answered(Callable<T> request) throws Exception {
        for (int attempt = 1;; attempt += 1) {
            try {
                return request.call();
            } catch (IotHubClientException failure) {
                if (failure.getStatusCode() != IotHubStatusCode.DEVICE_OPERATION_TIMED_OUT
                        || attempt == 5) {
                    throw failure;
                }
            }
        }
    }

    /** The text of a message's body. */
    public static String textOf(Message message) {
        return new String(message.getBytes(), StandardCharsets.UTF_8);
    }

    private IotHubMessageResult judge(Message message) {
        messages.add(message);
        return verdict.apply(message);
    }

    @Override
    public void close() {
        // One that shares a connection is closed with that connection.
        if (!client.isMultiplexed()) {
            client.close();
        }
    }
}
