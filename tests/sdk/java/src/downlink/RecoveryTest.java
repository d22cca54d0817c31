package downlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;

import com.microsoft.azure.sdk.iot.device.ClientOptions;
import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.device.transport.IotHubConnectionStatus;
import com.microsoft.azure.sdk.iot.device.twin.DirectMethodResponse;
import com.microsoft.azure.sdk.iot.service.messaging.AcknowledgementType;
import com.microsoft.azure.sdk.iot.service.messaging.ErrorContext;
import com.microsoft.azure.sdk.iot.service.messaging.FileUploadNotificationProcessorClient;
import com.microsoft.azure.sdk.iot.service.messaging.FileUploadNotificationProcessorClientOptions;
import com.microsoft.azure.sdk.iot.service.messaging.IotHubServiceClientProtocol;
import com.microsoft.azure.sdk.iot.service.messaging.MessagingClient;
import com.microsoft.azure.sdk.iot.service.messaging.MessagingClientOptions;
import com.microsoft.azure.sdk.iot.service.methods.DirectMethodRequestOptions;
import downlink.support.BackEnd;
import downlink.support.Bench;
import downlink.support.Certificates;
import downlink.support.Cutter;
import downlink.support.Hubs;
import downlink.support.Identity;
import downlink.support.Inbox;
import downlink.support.OverAmqp;
import downlink.support.OverEveryTransport;
import downlink.support.TestDevice;
import downlink.support.Waiting;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What the SDKs do by themselves when the network breaks; one test cuts at a time. */
@Execution(ExecutionMode.SAME_THREAD)
class RecoveryTest {
    /** Seconds that a token of a device lasts. */
    private static final int LIFETIME = 5;

    private static Cutter network;
    private final BackEnd backEnd = Hubs.backEnd();

    @BeforeAll
    static void build_the_network() throws Exception {
        network = new Cutter(Hubs.devices());
    }

    @AfterAll
    static void take_the_network_down() throws Exception {
        network.close();
    }

    @OverEveryTransport
    void a_device_is_back_by_itself_with_all_it_had_subscribed_to(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        TestDevice device = bench.device(backEnd.register(), transport, Hubs.CUT_NAME, null);
        device.open();
        Inbox<Object> changes = new Inbox<>();
        device.client.subscribeToMethods(
            (name, payload, context) -> new DirectMethodResponse(200, null), null);
        device.client.subscribeToDesiredProperties((twin, context) ->
            changes.add(twin.getDesiredProperties().get("after")), null);
        device.awaitStatus(IotHubConnectionStatus.CONNECTED);

        network.cut();
        backEnd.send(device.id(), BackEnd.message("sent into the gap"));
        device.awaitStatus(IotHubConnectionStatus.DISCONNECTED_RETRYING);
        device.awaitStatus(IotHubConnectionStatus.CONNECTED);
        assertEquals("sent into the gap", device.nextText());
        device.client.sendEvent(new Message("back again"));
        device.twin();
        var twin = new com.microsoft.azure.sdk.iot.service.twin.Twin(device.id());
        twin.getDesiredProperties().put("after", "the cut");
        backEnd.twins.patch(twin);
        assertEquals("the cut", changes.next("the change"));
        var ping = DirectMethodRequestOptions.builder()
            .methodConnectTimeoutSeconds(0).methodResponseTimeoutSeconds(15).build();
        assertEquals(200, backEnd.methods.invoke(device.id(), "ping", ping).getStatus());
    }

    @Test
    void devices_with_tokens_and_with_certificates_are_back_after_an_outage_that_outlasts_tokens(
            Bench bench) throws Exception {
        ClientOptions brief = ClientOptions.builder().sasTokenExpiryTime(LIFETIME).build();
        Identity shown = Hubs.certificates().selfSigned("device", Certificates.EC);
        String thumbprint = shown.thumbprint("SHA-256");
        List<TestDevice> devices = new ArrayList<>();
        for (IotHubClientProtocol transport : IotHubClientProtocol.values()) {
            String id = backEnd.register(thumbprint, thumbprint).getDeviceId();
            devices.add(bench.device(id, shown, transport, Hubs.CUT_NAME));
            devices.add(bench.device(backEnd.register(), transport, Hubs.CUT_NAME, brief));
        }
        for (TestDevice device : devices) {
            device.open();
            device.client.sendEvent(new Message("before"));
        }
        network.down();
        bench.keep(network::up);
        Instant over = Instant.now().plusSeconds(LIFETIME);
        for (TestDevice device : devices) {
            backEnd.send(device.id(), BackEnd.message("for " + device.id()));
        }
        Waiting.until("every token to be over", () -> Instant.now().isAfter(over));
        network.up();
        for (TestDevice device : devices) {
            assertEquals("for " + device.id(), device.nextText());
            device.client.sendEvent(new Message("after"));
        }
    }

    @OverAmqp
    void every_multiplexed_device_is_back_by_itself(IotHubClientProtocol transport, Bench bench)
            throws Exception {
        List<TestDevice> devices = new ArrayList<>();
        for (int n = 0; n < 10; n += 1) {
            devices.add(bench.device(backEnd.register(), transport, Hubs.CUT_NAME, null));
        }
        bench.multiplex(Hubs.CUT_NAME, transport, devices);
        network.cut();
        for (TestDevice device : devices) {
            backEnd.send(device.id(), BackEnd.message("for " + device.id()));
        }
        for (TestDevice device : devices) {
            assertEquals("for " + device.id(), device.nextText());
        }
    }

    @ParameterizedTest
    @EnumSource(IotHubServiceClientProtocol.class)
    void a_messaging_client_hears_of_the_cut_and_a_new_one_goes_on(
            IotHubServiceClientProtocol transport, Bench bench) throws Exception {
        Inbox<ErrorContext> errors = new Inbox<>();
        MessagingClient client = new MessagingClient(throughTheNetwork(), transport,
            MessagingClientOptions.builder().errorProcessor(errors::add).build());
        bench.keep(() -> client.close(Waiting.GOODBYE));
        TestDevice device = bench.connect(IotHubClientProtocol.MQTT);
        client.open();
        client.send(device.id(), BackEnd.message("before"));
        network.cut();
        assertNotNull(errors.next("the client to say so").getNetworkException());
        // The SDK does not come back by itself, and a client that is closed and opened again after a
        // cut may put its token and then begin no session: it still counts the one that broke.
        MessagingClient next = new MessagingClient(throughTheNetwork(), transport);
        bench.keep(() -> next.close(Waiting.GOODBYE));
        next.open();
        BackEnd.sent(next, device.id(), BackEnd.message("after")).get(20, TimeUnit.SECONDS);
        assertEquals(List.of("before", "after"), device.nextTexts(2));
    }

    @ParameterizedTest
    @EnumSource(IotHubServiceClientProtocol.class)
    void a_notification_client_hears_of_the_cut_and_can_be_started_again(
            IotHubServiceClientProtocol transport, Bench bench) throws Exception {
        Inbox<ErrorContext> errors = new Inbox<>();
        var client = new FileUploadNotificationProcessorClient(throughTheNetwork(), transport,
            notification -> AcknowledgementType.ABANDON,
            FileUploadNotificationProcessorClientOptions.builder()
                .errorProcessor(errors::add).build());
        bench.keep(() -> client.stop(Waiting.GOODBYE));
        client.start();
        network.cut();
        assertNotNull(errors.next("the client to say so").getNetworkException());
        client.stop(Waiting.GOODBYE);
        client.start();
    }

    private static String throughTheNetwork() {
        String service = Hubs.devices().policy("service");
        return service.replace(Hubs.devices().hostName(), Hubs.CUT_NAME);
    }
}
