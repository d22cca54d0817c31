package downlink;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.IotHubMessageResult;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.service.messaging.FeedbackRecord;
import com.microsoft.azure.sdk.iot.service.messaging.FeedbackStatusCode;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import downlink.support.BackEnd;
import downlink.support.Bench;
import downlink.support.Hubs;
import downlink.support.OverAmqp;
import downlink.support.OverEveryTransport;
import downlink.support.TestDevice;
import downlink.support.Waiting;
import java.util.Arrays;
import java.util.Date;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.IntStream;

/** Cloud-to-device messages between the service SDK and devices (c2d.md, amqp.md §5). */
class MessagesTest {
    private final BackEnd backEnd = Hubs.backEnd();

    @OverEveryTransport
    void a_device_gets_the_message_with_every_property_the_sender_set(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        TestDevice device = bench.connect(transport);
        byte[] body = {0, 1, 2, (byte) 0xff};
        var sent = BackEnd.message(body);
        sent.setMessageId("command-1");
        sent.setCorrelationId("order-7");
        sent.setUserId("ada");
        sent.setExpiryTimeUtc(new Date(System.currentTimeMillis() + 600_000));
        sent.getProperties().put("color", "red & white");
        sent.getProperties().put("a.b", "x=y/?#+%");
        sent.getProperties().put("greeting", "grüezi");
        backEnd.send(device.id(), sent);

        Message got = device.messages.next("the message");
        assertArrayEquals(body, got.getBytes());
        assertEquals("command-1", got.getMessageId());
        assertEquals("order-7", got.getCorrelationId());
        assertEquals("red & white", got.getProperty("color"));
        assertEquals("x=y/?#+%", got.getProperty("a.b"));
        assertEquals("grüezi", got.getProperty("greeting"));
        if (isAmqp(transport)) {
            // The SDK shows these two as properties; its MQTT half forgets them.
            assertEquals("ada", got.getProperty("iothub-app-userId"));
            assertEquals("/devices/" + device.id() + "/messages/devicebound",
                got.getProperty("iothub-app-to"));
        }
    }

    @OverEveryTransport
    void an_empty_message_arrives_empty(IotHubClientProtocol transport, Bench bench)
            throws Exception {
        TestDevice device = bench.connect(transport);
        backEnd.send(device.id(), BackEnd.message(""));
        assertEquals(0, device.messages.next("the message").getBytes().length);
    }

    @OverEveryTransport
    void a_message_of_many_frames_arrives_whole(IotHubClientProtocol transport, Bench bench)
            throws Exception {
        TestDevice device = bench.connect(transport);
        byte[] body = new byte[60 * 1024];
        new Random(4).nextBytes(body);
        for (int n = 0; n < 3; n += 1) {
            backEnd.send(device.id(), BackEnd.message(body));
        }
        for (Message got : device.messages.take(3, "large messages")) {
            assertArrayEquals(body, got.getBytes());
        }
    }

    @OverEveryTransport
    void messages_sent_while_the_device_is_offline_arrive_in_order(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        Device identity = backEnd.register();
        List<String> texts = IntStream.range(0, 20).mapToObj(n -> "command " + n).toList();
        var sending = texts.stream()
            .map(text -> backEnd.sending(identity.getDeviceId(), BackEnd.message(text)))
            .toList();
        for (var each : sending) {
            each.join();
        }
        assertEquals(20, waitingFor(identity.getDeviceId()));
        TestDevice device = bench.device(identity, transport).open();
        assertEquals(texts, device.nextTexts(20));
        Waiting.until("the queue to be empty", () -> waitingFor(device.id()) == 0);
    }

    @OverEveryTransport
    void a_completed_message_is_reported_as_success(IotHubClientProtocol transport, Bench bench)
            throws Exception {
        Device identity = backEnd.register();
        TestDevice device = bench.device(identity, transport).open();
        var sent = BackEnd.reported("do it");
        backEnd.send(device.id(), sent);
        assertEquals("do it", device.nextText());

        FeedbackRecord record = backEnd.feedback.about(sent.getMessageId());
        assertEquals(FeedbackStatusCode.success, record.getStatusCode());
        assertEquals("Success", record.getDescription());
        assertEquals(device.id(), record.getDeviceId());
        assertEquals(identity.getGenerationId(), record.getDeviceGenerationId());
        long age = System.currentTimeMillis() - record.getEnqueuedTimeUtc().getTime();
        assertTrue(Math.abs(age) < 20_000, "the report is " + age + " ms old");
    }

    @OverAmqp
    void an_abandoned_message_comes_again_until_it_is_completed(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        AtomicBoolean isFirst = new AtomicBoolean(true);
        TestDevice device = bench.connect(transport).settles(message -> isFirst.getAndSet(false)
            ? IotHubMessageResult.ABANDON : IotHubMessageResult.COMPLETE);
        var sent = BackEnd.reported("again");
        backEnd.send(device.id(), sent);
        assertEquals(List.of("again", "again"), device.nextTexts(2));
        FeedbackRecord record = backEnd.feedback.about(sent.getMessageId());
        assertEquals(FeedbackStatusCode.success, record.getStatusCode());
    }

    @OverAmqp
    void a_message_abandoned_at_its_last_delivery_is_reported_as_such(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        TestDevice device =
            bench.connect(transport).settles(message -> IotHubMessageResult.ABANDON);
        var sent = BackEnd.reported("never");
        backEnd.send(device.id(), sent);
        FeedbackRecord record = backEnd.feedback.about(sent.getMessageId());
        assertEquals(FeedbackStatusCode.deliveryCountExceeded, record.getStatusCode());
        // Each delivery counted, and there were as many as the hub's setting allows.
        assertEquals(List.of("never", "never", "never"), device.nextTexts(3));
        assertTrue(device.messages.isEmpty());
    }

    @OverAmqp
    void a_rejected_message_is_reported_as_rejected_and_never_comes_again(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        TestDevice device = bench.connect(transport).settles(message ->
            TestDevice.textOf(message).equals("bad")
                ? IotHubMessageResult.REJECT : IotHubMessageResult.COMPLETE);
        var bad = BackEnd.reported("bad");
        backEnd.send(device.id(), bad);
        FeedbackRecord record = backEnd.feedback.about(bad.getMessageId());
        assertEquals(FeedbackStatusCode.rejected, record.getStatusCode());
        assertEquals("Rejected", record.getDescription());
        backEnd.send(device.id(), BackEnd.message("good"));
        assertEquals(List.of("bad", "good"), device.nextTexts(2));
        Waiting.until("the queue to be empty", () -> waitingFor(device.id()) == 0);
    }

    @OverEveryTransport
    void a_message_without_a_verdict_comes_again_when_its_lock_has_expired(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        AtomicBoolean isFirst = new AtomicBoolean(true);
        TestDevice device = bench.connect(transport).settles(message -> {
            if (isFirst.getAndSet(false)) {
                throw new IllegalStateException("this device has no answer yet");
            }
            return IotHubMessageResult.COMPLETE;
        });
        var sent = BackEnd.reported("patience");
        long start = System.nanoTime();
        backEnd.send(device.id(), sent);
        assertEquals(List.of("patience", "patience"), device.nextTexts(2));
        long took = (System.nanoTime() - start) / 1_000_000;
        assertTrue(took > 4_500, "it came again after " + took + " ms, the lock is 5 s");
        FeedbackRecord record = backEnd.feedback.about(sent.getMessageId());
        assertEquals(FeedbackStatusCode.success, record.getStatusCode());
    }

    @OverEveryTransport
    void an_expired_message_is_reported_and_never_delivered(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        Device identity = backEnd.register();
        var sent = BackEnd.reported("too late");
        sent.setExpiryTimeUtc(new Date(System.currentTimeMillis() + 2_000));
        backEnd.send(identity.getDeviceId(), sent);
        FeedbackRecord record = backEnd.feedback.about(sent.getMessageId());
        assertEquals(FeedbackStatusCode.expired, record.getStatusCode());
        backEnd.send(identity.getDeviceId(), BackEnd.message("in time"));
        assertEquals("in time", bench.device(identity, transport).open().nextText());
    }

    @OverEveryTransport
    void what_the_device_did_not_settle_waits_for_its_next_connection(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        Device identity = backEnd.register();
        TestDevice first = bench.device(identity, transport).settles(message -> {
            throw new IllegalStateException("this device breaks");
        }).open();
        var sent = BackEnd.reported("survives");
        backEnd.send(first.id(), sent);
        assertEquals("survives", first.nextText());
        assertFalse(backEnd.feedback.knows(sent.getMessageId()));
        first.close();
        assertEquals("survives", bench.device(identity, transport).open().nextText());
        FeedbackRecord record = backEnd.feedback.about(sent.getMessageId());
        assertEquals(FeedbackStatusCode.success, record.getStatusCode());
    }

    @OverEveryTransport
    void a_device_id_with_every_kind_of_character_is_reached(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        String id = "d-" + System.nanoTime() + "-" + transport + "_a.b:c,d!e*f'g(h)i=j@k;l$";
        TestDevice device =
            bench.device(backEnd.register(id.replace(";l", "l")), transport).open();
        backEnd.send(device.id(), BackEnd.message("found"));
        assertEquals("found", device.nextText());
    }

    private long waitingFor(String deviceId) throws Exception {
        return backEnd.registry.getDevice(deviceId).getCloudToDeviceMessageCount();
    }

    private static boolean isAmqp(IotHubClientProtocol transport) {
        return Arrays.asList(IotHubClientProtocol.AMQPS, IotHubClientProtocol.AMQPS_WS)
            .contains(transport);
    }
}
