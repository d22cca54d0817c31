package downlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.device.exceptions.IotHubClientException;
import downlink.support.Bench;
import downlink.support.Inbox;
import downlink.support.OverAmqp;
import downlink.support.OverEveryTransport;
import downlink.support.TestDevice;
import java.util.Date;

/** Telemetry from devices (amqp.md §4.6, mqtt.md). */
class TelemetryTest {
    @OverEveryTransport
    void a_message_with_every_property_is_accepted(IotHubClientProtocol transport, Bench bench)
            throws Exception {
        Message message = new Message("{\"temperature\":21}");
        message.setMessageId("reading-1");
        message.setCorrelationId("run-7");
        message.setContentType("application/json");
        message.setContentEncoding("utf-8");
        message.setCreationTimeUTC(new Date());
        message.setProperty("room", "attic & roof");
        bench.connect(transport).client.sendEvent(message);
    }

    @OverEveryTransport
    void two_hundred_messages_without_a_pause_are_all_accepted(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        TestDevice device = bench.connect(transport);
        Inbox<String> answers = new Inbox<>();
        for (int n = 0; n < 200; n += 1) {
            device.client.sendEventAsync(new Message("reading " + n),
                (sent, failure, context) -> answers.add(String.valueOf(failure)), null);
        }
        for (String answer : answers.take(200, "answers")) {
            assertEquals("null", answer);
        }
    }

    @OverAmqp
    void a_message_over_the_limit_is_refused_and_the_next_one_is_accepted(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        TestDevice device = bench.connect(transport);
        Message tooLarge = new Message(new byte[256 * 1024 + 1]);
        assertThrows(IotHubClientException.class, () -> device.client.sendEvent(tooLarge));
        device.client.sendEvent(new Message(new byte[200 * 1024]));
        device.client.sendEvent(new Message("still here"));
        assertNull(device.statuses.next("the first status").getCause());
    }
}
