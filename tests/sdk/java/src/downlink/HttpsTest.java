package downlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.IotHubMessageResult;
import com.microsoft.azure.sdk.iot.device.IotHubStatusCode;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.device.exceptions.IotHubClientException;
import com.microsoft.azure.sdk.iot.service.messaging.FeedbackStatusCode;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import downlink.support.BackEnd;
import downlink.support.Bench;
import downlink.support.Hubs;
import downlink.support.TestDevice;
import java.util.Date;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;

/** Devices over HTTPS (http-device.md), which the SDK has polling for messages without a pause. */
class HttpsTest {
    private static final IotHubClientProtocol HTTPS = IotHubClientProtocol.HTTPS;
    private final BackEnd backEnd = Hubs.backEnd();

    @Test
    void telemetry_with_every_property_is_accepted_one_by_one_and_in_a_batch(Bench bench)
            throws Exception {
        TestDevice device = bench.connect(HTTPS);
        Message message = new Message("{\"temperature\":21}");
        message.setMessageId("reading-1");
        message.setCorrelationId("run-7");
        message.setContentType("application/json");
        message.setContentEncoding("utf-8");
        message.setCreationTimeUTC(new Date());
        message.setProperty("room", "attic");
        device.client.sendEvent(message);
        device.client.sendEvents(List.of(new Message("one"), new Message("two")));
    }

    @Test
    void messages_arrive_in_order_with_what_the_sender_set(Bench bench) throws Exception {
        TestDevice device = bench.connect(HTTPS);
        for (int n = 0; n < 3; n += 1) {
            var sent = BackEnd.message("command " + n);
            sent.setCorrelationId("order-" + n);
            sent.getProperties().put("color", "red & white");
            backEnd.send(device.id(), sent);
        }
        for (int n = 0; n < 3; n += 1) {
            Message got = device.messages.next("a message");
            assertEquals("command " + n, TestDevice.textOf(got));
            assertEquals("order-" + n, got.getCorrelationId());
            assertEquals("red & white", got.getProperty("color"));
        }
    }

    @Test
    void a_message_that_is_completed_or_rejected_is_reported_as_such(Bench bench)
            throws Exception {
        TestDevice device = bench.connect(HTTPS);
        device.settles(message -> TestDevice.textOf(message).equals("reject me")
            ? IotHubMessageResult.REJECT : IotHubMessageResult.COMPLETE);
        var completed = BackEnd.reported("complete me");
        backEnd.send(device.id(), completed);
        assertEquals(FeedbackStatusCode.success,
            backEnd.feedback.about(completed.getMessageId()).getStatusCode());
        var rejected = BackEnd.reported("reject me");
        backEnd.send(device.id(), rejected);
        assertEquals(FeedbackStatusCode.rejected,
            backEnd.feedback.about(rejected.getMessageId()).getStatusCode());
    }

    @Test
    void a_message_that_is_abandoned_comes_again(Bench bench) throws Exception {
        TestDevice device = bench.connect(HTTPS);
        AtomicBoolean wasAbandoned = new AtomicBoolean();
        device.settles(message -> wasAbandoned.getAndSet(true)
            ? IotHubMessageResult.COMPLETE : IotHubMessageResult.ABANDON);
        var sent = BackEnd.reported("again");
        backEnd.send(device.id(), sent);
        assertEquals(List.of("again", "again"), device.nextTexts(2));
        assertEquals(FeedbackStatusCode.success,
            backEnd.feedback.about(sent.getMessageId()).getStatusCode());
    }

    @Test
    void a_wrong_key_is_refused(Bench bench) throws Exception {
        Device identity = backEnd.register();
        identity.getSymmetricKey().setPrimaryKey(backEnd.register().getPrimaryKey());
        TestDevice device = bench.device(identity, HTTPS);
        device.open();
        IotHubClientException refusal = assertThrows(IotHubClientException.class,
            () -> device.client.sendEvent(new Message("x")));
        assertEquals(IotHubStatusCode.UNAUTHORIZED, refusal.getStatusCode(), refusal.toString());
    }
}
