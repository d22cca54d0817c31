package downlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.service.messaging.AcknowledgementType;
import com.microsoft.azure.sdk.iot.service.messaging.FeedbackBatch;
import com.microsoft.azure.sdk.iot.service.messaging.FeedbackRecord;
import com.microsoft.azure.sdk.iot.service.messaging.FileUploadNotificationProcessorClient;
import com.microsoft.azure.sdk.iot.service.messaging.IotHubServiceClientProtocol;
import com.microsoft.azure.sdk.iot.service.messaging.Message;
import com.microsoft.azure.sdk.iot.service.messaging.MessageFeedbackProcessorClient;
import com.microsoft.azure.sdk.iot.service.messaging.MessagingClient;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.RegistryClient;
import downlink.support.BackEnd;
import downlink.support.Bench;
import downlink.support.Hub;
import downlink.support.Hubs;
import downlink.support.Inbox;
import downlink.support.Waiting;
import java.util.Date;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The service SDK's processors of feedback and of file notifications on both of their transports.
 *
 * <p>Whoever reads feedback takes it from all others, so these tests have a hub to themselves and
 * run one after the other.
 */
@Execution(ExecutionMode.SAME_THREAD)
class FeedbackTest {
    private final Hub hub = Hubs.backEnds();
    private final String service = hub.policy("service");

    @ParameterizedTest
    @EnumSource(IotHubServiceClientProtocol.class)
    void reports_reach_the_processor(IotHubServiceClientProtocol transport, Bench bench)
            throws Exception {
        Device identity = register();
        Inbox<String> ids = new Inbox<>();
        start(bench, transport, identity, batch -> {
            for (FeedbackRecord record : batch.getRecords()) {
                ids.add(record.getStatusCode() + " " + record.getOriginalMessageId());
            }
            return AcknowledgementType.COMPLETE;
        });
        List<Message> sent = sendExpiring(bench, transport, identity, 70);
        assertEquals(
            sent.stream().map(message -> "expired " + message.getMessageId()).sorted().toList(),
            ids.take(70, "reports").stream().sorted().toList());
    }

    @ParameterizedTest
    @EnumSource(IotHubServiceClientProtocol.class)
    void an_abandoned_report_comes_again(IotHubServiceClientProtocol transport, Bench bench)
            throws Exception {
        Device identity = register();
        AtomicBoolean isFirst = new AtomicBoolean(true);
        Inbox<String> ids = new Inbox<>();
        start(bench, transport, identity, batch -> {
            batch.getRecords().forEach(record -> ids.add(record.getOriginalMessageId()));
            return isFirst.getAndSet(false)
                ? AcknowledgementType.ABANDON : AcknowledgementType.COMPLETE;
        });
        String id = sendExpiring(bench, transport, identity, 1).get(0).getMessageId();
        assertEquals(List.of(id, id), ids.take(2, "deliveries"));
    }

    @ParameterizedTest
    @EnumSource(IotHubServiceClientProtocol.class)
    void a_report_that_came_while_nobody_listened_waits(
            IotHubServiceClientProtocol transport, Bench bench) throws Exception {
        Device identity = register();
        String id = sendExpiring(bench, transport, identity, 1).get(0).getMessageId();
        // The message is gone once it has expired, and its report is due 200 ms later.
        RegistryClient registry = new RegistryClient(hub.policy("registryReadWrite"));
        Waiting.until("the message to expire", () ->
            registry.getDevice(identity.getDeviceId()).getCloudToDeviceMessageCount() == 0);
        Inbox<String> ids = new Inbox<>();
        start(bench, transport, identity, batch -> {
            batch.getRecords().forEach(record -> ids.add(record.getOriginalMessageId()));
            return AcknowledgementType.COMPLETE;
        });
        assertEquals(id, ids.next("the report"));
    }

    @ParameterizedTest
    @EnumSource(IotHubServiceClientProtocol.class)
    void a_processor_without_the_right_does_not_keep_running(
            IotHubServiceClientProtocol transport, Bench bench) throws Exception {
        var reader = new MessageFeedbackProcessorClient(
            hub.policy("registryRead"), transport, batch -> AcknowledgementType.COMPLETE);
        bench.keep(() -> reader.stop(Waiting.GOODBYE));
        reader.start(20_000);
        Waiting.until("the processor to end", () -> !reader.isRunning());
    }

    @ParameterizedTest
    @EnumSource(IotHubServiceClientProtocol.class)
    void the_processor_of_file_notifications_starts_and_hears_nothing(
            IotHubServiceClientProtocol transport, Bench bench) throws Exception {
        Inbox<Object> heard = new Inbox<>();
        var client = new FileUploadNotificationProcessorClient(service, transport, notification -> {
            heard.add(notification);
            return AcknowledgementType.COMPLETE;
        });
        bench.keep(() -> client.stop(Waiting.GOODBYE));
        client.start();
        Thread.sleep(500);
        assertTrue(client.isRunning());
        assertTrue(heard.isEmpty());
    }

    /** Starts a processor that hears of one device; what another test left is completed. */
    private void start(
            Bench bench,
            IotHubServiceClientProtocol transport,
            Device identity,
            Function<FeedbackBatch, AcknowledgementType> processor)
            throws Exception {
        var client = new MessageFeedbackProcessorClient(service, transport, batch ->
            batch.getRecords().get(0).getDeviceId().equals(identity.getDeviceId())
                ? processor.apply(batch) : AcknowledgementType.COMPLETE);
        bench.keep(() -> client.stop(Waiting.GOODBYE));
        client.start();
    }

    private Device register() {
        return BackEnd.registerAt(hub, 1).get(0);
    }

    /** Sends messages that expire at once: the quickest fate that is reported. */
    private List<Message> sendExpiring(
            Bench bench, IotHubServiceClientProtocol transport, Device to, int count)
            throws Exception {
        MessagingClient client = new MessagingClient(service, transport);
        bench.keep(() -> client.close(Waiting.GOODBYE));
        client.open();
        List<Message> messages = IntStream.range(0, count).mapToObj(n -> {
            Message message = BackEnd.reported("message " + n);
            message.setExpiryTimeUtc(new Date(System.currentTimeMillis() + 1_500));
            return message;
        }).toList();
        var sending = messages.stream()
            .map(message -> BackEnd.sent(client, to.getDeviceId(), message)).toList();
        for (var each : sending) {
            each.get();
        }
        return messages;
    }
}
