package downlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.azure.core.credential.AccessToken;
import com.azure.core.credential.TokenCredential;
import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.twin.DirectMethodResponse;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubNotFoundException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubTooManyDevicesException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubUnauthorizedException;
import com.microsoft.azure.sdk.iot.service.messaging.FeedbackStatusCode;
import com.microsoft.azure.sdk.iot.service.messaging.IotHubServiceClientProtocol;
import com.microsoft.azure.sdk.iot.service.messaging.Message;
import com.microsoft.azure.sdk.iot.service.messaging.MessagingClient;
import com.microsoft.azure.sdk.iot.service.methods.DirectMethodRequestOptions;
import com.microsoft.azure.sdk.iot.service.methods.DirectMethodsClient;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.RegistryClient;
import com.microsoft.azure.sdk.iot.service.twin.Twin;
import com.microsoft.azure.sdk.iot.service.twin.TwinClient;
import downlink.support.BackEnd;
import downlink.support.Bench;
import downlink.support.Feedback;
import downlink.support.Hub;
import downlink.support.Hubs;
import downlink.support.Issuer;
import downlink.support.TestDevice;
import downlink.support.Waiting;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import reactor.core.publisher.Mono;

/** Back-ends with tokens of an issuer of the user's own, by the SDK's TokenCredential (auth.md §6). */
class BearerTest {
    /** What the SDK makes of every 403. */
    private static final Class<? extends IotHubException> FORBIDDEN =
        IotHubTooManyDevicesException.class;

    private final Hub hub = Hubs.bearers();
    private final Issuer issuer = Hubs.issuer();

    @Test
    void a_token_with_the_right_to_everything_opens_registry_twins_and_methods(Bench bench)
            throws Exception {
        Issuer.Credential owner = issuer.credential("contributor");
        RegistryClient registry = new RegistryClient(hub.hostName(), owner);
        Device made = registry.addDevice(new Device("device-" + UUID.randomUUID()));
        TwinClient twins = new TwinClient(hub.hostName(), owner);
        Twin change = new Twin(made.getDeviceId());
        change.getTags().put("floor", 2);
        twins.patch(change);
        Object floor = twins.get(made.getDeviceId()).getTags().get("floor");
        assertEquals(2, ((Number) floor).intValue());

        TestDevice device =
            bench.device(made, IotHubClientProtocol.MQTT, hub.hostName(), null).open();
        device.client.subscribeToMethods(
            (name, payload, context) -> new DirectMethodResponse(200, name), null);
        var answer = new DirectMethodsClient(hub.hostName(), owner)
            .invoke(made.getDeviceId(), "reboot", DirectMethodRequestOptions.builder().build());
        assertEquals("reboot", answer.getPayload(String.class));

        registry.removeDevice(made.getDeviceId());
        assertThrows(IotHubNotFoundException.class, () -> registry.getDevice(made.getDeviceId()));
    }

    @Test
    void a_token_opens_sends_and_feedback_on_every_transport(Bench bench) throws Exception {
        TestDevice device = connect(bench);
        // One after the other: records go to one reader of several.
        for (IotHubServiceClientProtocol transport : IotHubServiceClientProtocol.values()) {
            Issuer.Credential owner = issuer.credential("contributor");
            try (Feedback feedback = new Feedback(hub, owner, transport)) {
                Message sent = BackEnd.reported("by bearer");
                open(bench, issuer.credential("sender"), transport).send(device.id(), sent);
                assertEquals("by bearer", device.nextText());
                assertEquals(FeedbackStatusCode.success,
                    feedback.about(sent.getMessageId()).getStatusCode());
            }
        }
    }

    @Test
    void a_token_without_the_action_is_forbidden() throws Exception {
        String deviceId = register().getDeviceId();
        Issuer.Credential reader = issuer.credential("reader");
        RegistryClient registry = new RegistryClient(hub.hostName(), reader);
        assertEquals(deviceId, registry.getDevice(deviceId).getDeviceId());
        new TwinClient(hub.hostName(), reader).get(deviceId);
        assertThrows(FORBIDDEN, () -> registry.removeDevice(deviceId));
        assertThrows(FORBIDDEN,
            () -> registry.addDevice(new Device("device-" + UUID.randomUUID())));
        Twin change = new Twin(deviceId);
        change.getTags().put("floor", 3);
        assertThrows(FORBIDDEN, () -> new TwinClient(hub.hostName(), reader).patch(change));
        assertThrows(FORBIDDEN,
            () -> new DirectMethodsClient(hub.hostName(), reader).invoke(
                deviceId, "reboot", DirectMethodRequestOptions.builder().build()));
        Issuer.Credential nobody = issuer.credential("nobody");
        assertThrows(FORBIDDEN,
            () -> new RegistryClient(hub.hostName(), nobody).getDevice(deviceId));
    }

    @ParameterizedTest
    @EnumSource(IotHubServiceClientProtocol.class)
    void a_token_without_the_action_opens_no_sender(
            IotHubServiceClientProtocol transport, Bench bench) throws Exception {
        Device device = register();
        MessagingClient client = client(bench, issuer.credential("reader"), transport);
        // The SDK takes the answer to its attach for a yes, and closes at the no that follows.
        client.open();
        Waiting.until("the client to be closed", () -> !client.isOpen());
        assertThrows(IllegalStateException.class,
            () -> client.send(device.getDeviceId(), BackEnd.message("not allowed")));
        assertEquals(0, registry().getDevice(device.getDeviceId()).getCloudToDeviceMessageCount());
    }

    @ParameterizedTest
    @EnumSource(IotHubServiceClientProtocol.class)
    void a_token_for_another_audience_opens_nothing(
            IotHubServiceClientProtocol transport, Bench bench) throws Exception {
        String deviceId = register().getDeviceId();
        TokenCredential forged = scope -> Mono.just(
            new AccessToken("a.b.c", OffsetDateTime.now(ZoneOffset.UTC).plusHours(1)));
        TokenCredential elsewhere = issuer.credential("contributor", "https://other.test");
        for (TokenCredential credential : new TokenCredential[] {elsewhere, forged}) {
            assertThrows(IotHubUnauthorizedException.class,
                () -> new RegistryClient(hub.hostName(), credential).getDevice(deviceId));
            MessagingClient client = client(bench, credential, transport);
            assertThrows(IotHubUnauthorizedException.class, client::open);
        }
    }

    @Test
    void a_back_end_goes_on_while_the_sdk_renews_tokens_that_last_seconds(Bench bench)
            throws Exception {
        Issuer.Credential brief = issuer.credential("brief");
        TestDevice device = connect(bench);
        MessagingClient client = open(bench, brief, IotHubServiceClientProtocol.AMQPS);
        client.send(device.id(), BackEnd.message("first"));
        assertEquals("first", device.nextText());
        AccessToken first = brief.given.get(0);
        // The token and its grace end meanwhile: without a renewal the link would be gone.
        Waiting.until("the first token to be long over",
            () -> OffsetDateTime.now(ZoneOffset.UTC).isAfter(first.getExpiresAt().plusSeconds(3)));
        assertTrue(brief.given.size() > 1);
        client.send(device.id(), BackEnd.message("second"));
        assertEquals("second", device.nextText());
        assertTrue(client.isOpen());

        RegistryClient registry = new RegistryClient(hub.hostName(), brief);
        int before = brief.given.size();
        registry.getDevice(device.id());
        registry.getDevice(device.id());
        assertTrue(brief.given.size() >= before + 2, "each request has a token that holds");
    }

    private RegistryClient registry() {
        return new RegistryClient(hub.hostName(), issuer.credential("contributor"));
    }

    private Device register() throws Exception {
        return registry().addDevice(new Device("device-" + UUID.randomUUID()));
    }

    private TestDevice connect(Bench bench) throws Exception {
        return bench.device(register(), IotHubClientProtocol.MQTT, hub.hostName(), null).open();
    }

    private MessagingClient client(
            Bench bench, TokenCredential credential, IotHubServiceClientProtocol transport) {
        MessagingClient client = new MessagingClient(hub.hostName(), credential, transport);
        bench.keep(() -> client.close(Waiting.GOODBYE));
        return client;
    }

    private MessagingClient open(
            Bench bench, TokenCredential credential, IotHubServiceClientProtocol transport)
            throws Exception {
        MessagingClient client = client(bench, credential, transport);
        client.open();
        return client;
    }
}
