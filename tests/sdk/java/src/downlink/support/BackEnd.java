package downlink.support;

import com.microsoft.azure.sdk.iot.service.auth.AuthenticationType;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubException;
import com.microsoft.azure.sdk.iot.service.messaging.DeliveryAcknowledgement;
import com.microsoft.azure.sdk.iot.service.messaging.IotHubServiceClientProtocol;
import com.microsoft.azure.sdk.iot.service.messaging.Message;
import com.microsoft.azure.sdk.iot.service.messaging.MessagingClient;
import com.microsoft.azure.sdk.iot.service.messaging.SendResult;
import com.microsoft.azure.sdk.iot.service.methods.DirectMethodsClient;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.RegistryClient;
import com.microsoft.azure.sdk.iot.service.twin.TwinClient;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;

/** The SDK's service clients of one hub, with AMQP for messages. */
public final class BackEnd implements AutoCloseable {
    /** With the right to read and write identities. */
    public final RegistryClient registry;
    /** With the right to read and write twins. */
    public final TwinClient twins;
    /** With the right to call methods. */
    public final DirectMethodsClient methods;
    /** Hears of what became of messages. */
    public final Feedback feedback;
    private final MessagingClient messaging;

    BackEnd(Hub hub) throws Exception {
        String service = hub.policy("service");
        registry = new RegistryClient(hub.policy("registryReadWrite"));
        twins = new TwinClient(service);
        methods = new DirectMethodsClient(service);
        messaging = new MessagingClient(service, IotHubServiceClientProtocol.AMQPS);
        messaging.open();
        feedback = new Feedback(hub, IotHubServiceClientProtocol.AMQPS);
    }

    /** Makes identities with keys of their own at any hub. */
    public static List<Device> registerAt(Hub hub, int count) {
        RegistryClient registry = new RegistryClient(hub.policy("registryReadWrite"));
        return IntStream.range(0, count).parallel()
            .mapToObj(n -> register(registry, newId()))
            .toList();
    }

    private static Device register(RegistryClient registry, String deviceId) {
        try {
            return registry.addDevice(new Device(deviceId));
        } catch (IOException | IotHubException failure) {
            throw new IllegalStateException(failure);
        }
    }

    /** Makes an identity with keys of its own. */
    public Device register() throws Exception {
        return register(newId());
    }

    /** Makes an identity of that name with keys of its own. */
    public Device register(String deviceId) throws Exception {
        return registry.addDevice(new Device(deviceId));
    }

    /** Makes an identity whose certificate has one of two thumbprints. */
    public Device register(String primaryThumbprint, String secondaryThumbprint) throws Exception {
        Device device = new Device(newId(), AuthenticationType.SELF_SIGNED);
        device.setThumbprint(primaryThumbprint, secondaryThumbprint);
        return registry.addDevice(device);
    }

    /** Makes an identity whose certificate an authority has signed. */
    public Device registerUnderAuthorities() throws Exception {
        return registry.addDevice(new Device(newId(), AuthenticationType.CERTIFICATE_AUTHORITY));
    }

    private static String newId() {
        return "device-" + UUID.randomUUID();
    }

    /** Sends a message and waits until the hub has taken it. */
    public void send(String deviceId, Message message) throws Exception {
        sent(messaging, deviceId, message).get(20, TimeUnit.SECONDS);
    }

    /** Sends a message; the future fails with the SDK's exception when the hub refuses it. */
    public CompletableFuture<Void> sending(String deviceId, Message message) {
        return sent(messaging, deviceId, message);
    }

    /** Sends a message through any of the SDK's clients. */
    public static CompletableFuture<Void> sent(
            MessagingClient client, String deviceId, Message message) {
        CompletableFuture<Void> sent = new CompletableFuture<>();
        client.sendAsync(deviceId, message, result -> settle(sent, result), null);
        return sent;
    }

    private static void settle(CompletableFuture<Void> sent, SendResult result) {
        IotHubException refusal = result.getException();
        if (result.wasSentSuccessfully()) {
            sent.complete(null);
        } else {
            sent.completeExceptionally(refusal);
        }
    }

    /** A message with an id of its own that asks for no feedback. */
    public static Message message(String text) {
        return message(text.getBytes(StandardCharsets.UTF_8));
    }

    /** A message with an id of its own that asks for no feedback. */
    public static Message message(byte[] body) {
        Message message = new Message(body);
        message.setMessageId(UUID.randomUUID().toString());
        message.setDeliveryAcknowledgement(DeliveryAcknowledgement.None);
        return message;
    }

    /** A message whose fate is reported. */
    public static Message reported(String text) {
        Message message = message(text);
        message.setDeliveryAcknowledgement(DeliveryAcknowledgement.Full);
        return message;
    }

    @Override
    public void close() throws Exception {
        feedback.close();
        messaging.close(Waiting.GOODBYE);
    }
}
