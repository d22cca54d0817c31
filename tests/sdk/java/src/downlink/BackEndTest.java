package downlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubDeviceMaximumQueueDepthExceededException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubMessageTooLargeException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubNotFoundException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubUnauthorizedException;
import com.microsoft.azure.sdk.iot.service.messaging.IotHubServiceClientProtocol;
import com.microsoft.azure.sdk.iot.service.messaging.Message;
import com.microsoft.azure.sdk.iot.service.messaging.MessagingClient;
import downlink.support.BackEnd;
import downlink.support.Bench;
import downlink.support.Hub;
import downlink.support.Hubs;
import downlink.support.TestDevice;
import downlink.support.Waiting;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The service SDK's client for messages on both of its transports (amqp.md §8). */
class BackEndTest {
    private final BackEnd backEnd = Hubs.backEnd();

    @ParameterizedTest
    @EnumSource(IotHubServiceClientProtocol.class)
    void a_message_is_sent(IotHubServiceClientProtocol transport, Bench bench) throws Exception {
        TestDevice device = bench.connect(IotHubClientProtocol.MQTT);
        open(bench, transport).send(device.id(), BackEnd.message("hello"));
        assertEquals("hello", device.nextText());
    }

    @ParameterizedTest
    @EnumSource(IotHubServiceClientProtocol.class)
    void a_message_to_an_unknown_device_is_not_found_and_the_next_one_is_sent(
            IotHubServiceClientProtocol transport, Bench bench) throws Exception {
        MessagingClient client = open(bench, transport);
        assertThrows(IotHubNotFoundException.class,
            () -> client.send("nobody", BackEnd.message("x")));
        TestDevice device = bench.connect(IotHubClientProtocol.MQTT);
        client.send(device.id(), BackEnd.message("still here"));
        assertEquals("still here", device.nextText());
    }

    @ParameterizedTest
    @EnumSource(IotHubServiceClientProtocol.class)
    void the_fifty_first_message_exceeds_the_queue_depth(
            IotHubServiceClientProtocol transport, Bench bench) throws Exception {
        MessagingClient client = open(bench, transport);
        String deviceId = backEnd.register().getDeviceId();
        List<CompletableFuture<Void>> accepted = IntStream.range(0, 50)
            .mapToObj(n -> BackEnd.sent(client, deviceId, BackEnd.message("" + n)))
            .toList();
        for (CompletableFuture<Void> each : accepted) {
            each.get();
        }
        assertThrows(IotHubDeviceMaximumQueueDepthExceededException.class,
            () -> client.send(deviceId, BackEnd.message("one too many")));
    }

    @ParameterizedTest
    @EnumSource(IotHubServiceClientProtocol.class)
    void a_message_over_the_limit_is_too_large_and_one_under_it_is_sent(
            IotHubServiceClientProtocol transport, Bench bench) throws Exception {
        MessagingClient client = open(bench, transport);
        TestDevice device = bench.connect(IotHubClientProtocol.MQTT);
        assertThrows(IotHubMessageTooLargeException.class,
            () -> client.send(device.id(), BackEnd.message(new byte[64 * 1024 + 1])));
        client.send(device.id(), BackEnd.message(new byte[63 * 1024]));
        assertEquals(63 * 1024, device.messages.next("the message").getBytes().length);
    }

    @ParameterizedTest
    @EnumSource(IotHubServiceClientProtocol.class)
    void a_client_with_a_wrong_key_does_not_open(
            IotHubServiceClientProtocol transport, Bench bench) {
        String service = Hubs.devices().policy("service");
        String wrong = service.replaceAll("SharedAccessKey=.*", "SharedAccessKey=d3Jvbmc=");
        MessagingClient stranger = new MessagingClient(wrong, transport);
        bench.keep(() -> stranger.close(Waiting.GOODBYE));
        assertThrows(IotHubUnauthorizedException.class, () -> stranger.open(20_000));
    }

    @ParameterizedTest
    @EnumSource(IotHubServiceClientProtocol.class)
    void a_client_without_the_right_does_not_stay_open(
            IotHubServiceClientProtocol transport, Bench bench) throws Exception {
        MessagingClient reader =
            new MessagingClient(Hubs.devices().policy("registryRead"), transport);
        bench.keep(() -> reader.close(Waiting.GOODBYE));
        // The SDK takes the first half of a refusal, an attach without a target, for a success,
        // and the second half closes the client without a word.
        reader.open(20_000);
        Waiting.until("the client to be closed", () -> !reader.isOpen());
    }

    @ParameterizedTest
    @EnumSource(IotHubServiceClientProtocol.class)
    void a_thousand_messages_to_fifty_devices_arrive_in_order_at_each(
            IotHubServiceClientProtocol transport, Bench bench) throws Exception {
        // The hub with the longer lock: the SDK hands an application one message at a time.
        Hub hub = Hubs.backEnds();
        MessagingClient client = new MessagingClient(hub.policy("service"), transport);
        bench.keep(() -> client.close(Waiting.GOODBYE));
        client.open();
        IotHubClientProtocol side = IotHubClientProtocol.valueOf(transport.name());
        List<TestDevice> devices = BackEnd.registerAt(hub, 50).stream()
            .map(identity -> bench.device(identity, side, hub.hostName(), null))
            .toList();
        bench.multiplex(hub, side, devices);

        List<String> texts = IntStream.range(0, 20).mapToObj(n -> "command " + n).toList();
        List<CompletableFuture<Void>> sending = new ArrayList<>();
        for (String text : texts) {
            for (TestDevice device : devices) {
                sending.add(BackEnd.sent(client, device.id(), BackEnd.message(text)));
            }
        }
        for (CompletableFuture<Void> each : sending) {
            each.get();
        }
        for (TestDevice device : devices) {
            assertEquals(texts, device.nextTexts(20));
        }
    }

    @ParameterizedTest
    @EnumSource(IotHubServiceClientProtocol.class)
    void a_bad_message_is_refused_with_a_reason(
            IotHubServiceClientProtocol transport, Bench bench) throws Exception {
        MessagingClient client = open(bench, transport);
        String deviceId = backEnd.register().getDeviceId();
        Message message = BackEnd.message("x");
        message.getProperties().put("iothub-ack", "perhaps");
        ExecutionException refused = assertThrows(ExecutionException.class,
            () -> BackEnd.sent(client, deviceId, message).get());
        IotHubException cause = assertInstanceOf(IotHubException.class, refused.getCause());
        assertTrue(cause.getMessage().contains("argument-error"), cause.getMessage());
    }

    private static MessagingClient open(Bench bench, IotHubServiceClientProtocol transport)
            throws Exception {
        MessagingClient client = new MessagingClient(Hubs.devices().policy("service"), transport);
        bench.keep(() -> client.close(Waiting.GOODBYE));
        client.open();
        return client;
    }
}
