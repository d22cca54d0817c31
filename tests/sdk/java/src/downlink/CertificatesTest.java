package downlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.IotHubStatusCode;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.device.exceptions.IotHubClientException;
import com.microsoft.azure.sdk.iot.device.transport.IotHubConnectionStatus;
import com.microsoft.azure.sdk.iot.device.transport.NoRetry;
import com.microsoft.azure.sdk.iot.service.messaging.FeedbackStatusCode;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import downlink.support.BackEnd;
import downlink.support.Bench;
import downlink.support.Certificates;
import downlink.support.Hubs;
import downlink.support.Identity;
import downlink.support.OverEveryProtocol;
import downlink.support.TestDevice;
import downlink.support.Waiting;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Devices that prove themselves by certificates (auth.md §5). */
class CertificatesTest {
    private static final String KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    private final BackEnd backEnd = Hubs.backEnd();
    private final Certificates certificates = Hubs.certificates();

    @OverEveryProtocol
    void a_certificate_opens_its_device_by_either_thumbprint(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        Identity one = selfSigned();
        Identity other = certificates.selfSigned("anything else", Certificates.RSA);
        String id = register(one.thumbprint("SHA-1"), other.thumbprint("SHA-256"));
        assertServed(bench.device(id, one, transport), transport);
        assertServed(bench.device(id, other, transport), transport);
    }

    @OverEveryProtocol
    void a_certificate_with_another_thumbprint_is_refused_as_unauthorized(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        String id = register(selfSigned());
        assertRefused(bench.device(id, selfSigned(), transport));
    }

    @OverEveryProtocol
    void a_token_does_not_open_a_device_with_certificates(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        Identity own = selfSigned();
        String id = register(own);
        assertRefused(bench.device(id, KEY, transport));
        assertServed(bench.device(id, own, transport), transport);
    }

    @OverEveryProtocol
    void a_certificate_does_not_open_a_device_with_keys(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        String id = backEnd.register().getDeviceId();
        Identity shown = certificates.selfSigned(id, Certificates.EC);
        assertRefused(bench.device(id, shown, transport));
    }

    @OverEveryProtocol
    void a_trusted_authority_opens_the_device_that_the_certificate_names(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        Certificates.Authority root = certificates.authority("root-" + transport);
        Certificates.Authority plant = root.below("plant-" + transport);
        String id = backEnd.registerUnderAuthorities().getDeviceId();
        assertRefused(bench.device(id, plant.issue(id), transport));
        trust(bench, root, id, transport);
        assertServed(bench.device(id, plant.issue(id), transport), transport);
        assertServed(bench.device(id, root.issue(id, Certificates.RSA), transport), transport);
        assertRefused(bench.device(id, plant.issue(id + "0"), transport));
        assertRefused(bench.device(id, plant.issueAlone(id), transport));
        Certificates.Authority impostor = certificates.authority(root.commonName);
        assertRefused(bench.device(id, impostor.issue(id), transport));
        assertRefused(bench.device(id, certificates.selfSigned(id, Certificates.EC), transport));
    }

    @ParameterizedTest
    @EnumSource(value = IotHubClientProtocol.class, names = {"MQTT", "MQTT_WS", "AMQPS"})
    void a_new_thumbprint_ends_the_connection_of_the_old_certificate(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        Identity older = selfSigned();
        Identity newer = selfSigned();
        Device identity =
            backEnd.register(older.thumbprint("SHA-256"), older.thumbprint("SHA-256"));
        String id = identity.getDeviceId();
        TestDevice device = opened(bench.device(id, older, transport));
        identity.setThumbprint(newer.thumbprint("SHA-256"), newer.thumbprint("SHA-256"));
        backEnd.registry.updateDevice(identity);
        device.awaitStatus(IotHubConnectionStatus.DISCONNECTED);
        assertRefused(bench.device(id, older, transport));
        assertServed(bench.device(id, newer, transport), transport);
    }

    @ParameterizedTest
    @EnumSource(value = IotHubClientProtocol.class, names = {"MQTT", "MQTT_WS", "AMQPS"})
    void an_authority_that_is_removed_takes_its_devices_along(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        Certificates.Authority authority = certificates.authority("gone-" + transport);
        String id = backEnd.registerUnderAuthorities().getDeviceId();
        Hubs.administration().trust(authority);
        awaitTrust(bench, authority, id, transport);
        TestDevice device = opened(bench.device(id, authority.issue(id), transport));
        Hubs.administration().distrust(authority);
        device.awaitStatus(IotHubConnectionStatus.DISCONNECTED);
        assertRefused(bench.device(id, authority.issue(id), transport));
    }

    private Identity selfSigned() throws Exception {
        return certificates.selfSigned("anything", Certificates.EC);
    }

    private String register(Identity identity) throws Exception {
        return register(identity.thumbprint("SHA-1"), identity.thumbprint("SHA-1"));
    }

    private String register(String primaryThumbprint, String secondaryThumbprint)
            throws Exception {
        return backEnd.register(primaryThumbprint, secondaryThumbprint).getDeviceId();
    }

    /** Has the hub trust an authority until the test ends, and waits until its door does. */
    private static void trust(
            Bench bench,
            Certificates.Authority authority,
            String deviceId,
            IotHubClientProtocol transport)
            throws Exception {
        Hubs.administration().trust(authority);
        bench.keep(() -> Hubs.administration().distrust(authority));
        awaitTrust(bench, authority, deviceId, transport);
    }

    /** Each door asks a few times in a second who is trusted, so a device asks it as well. */
    private static void awaitTrust(
            Bench bench,
            Certificates.Authority authority,
            String deviceId,
            IotHubClientProtocol transport)
            throws Exception {
        Identity shown = authority.issue(deviceId);
        Waiting.until("devices of " + authority.commonName + " to be believed", () -> {
            TestDevice device = bench.device(deviceId, shown, transport);
            try {
                device.open();
                device.client.sendEvent(new Message("x"));
                return true;
            } catch (IotHubClientException refusal) {
                assertEquals(IotHubStatusCode.UNAUTHORIZED, refusal.getStatusCode());
                return false;
            } finally {
                device.close();
            }
        });
    }

    /** Opens a device that stays away when its connection ends. */
    private static TestDevice opened(TestDevice device) throws Exception {
        device.client.setRetryPolicy(new NoRetry());
        return device.open();
    }

    /** Opens the device and has telemetry, messages and, where there is one, its twin pass. */
    private void assertServed(TestDevice device, IotHubClientProtocol transport)
            throws Exception {
        device.open();
        device.client.sendEvent(new Message("telemetry"));
        var sent = BackEnd.reported("for the holder of the key");
        backEnd.send(device.id(), sent);
        assertEquals("for the holder of the key", device.nextText());
        assertEquals(FeedbackStatusCode.success,
            backEnd.feedback.about(sent.getMessageId()).getStatusCode());
        if (transport != IotHubClientProtocol.HTTPS) {
            device.client.subscribeToDesiredProperties((twin, context) -> { }, null);
            assertEquals(1, device.twin().getDesiredProperties().getVersion());
        }
        device.close();
    }

    /** Over HTTPS there is nothing to open: the first request is refused. */
    private static void assertRefused(TestDevice device) {
        IotHubClientException refusal = assertThrows(IotHubClientException.class, () -> {
            device.open();
            device.client.sendEvent(new Message("x"));
        });
        assertEquals(IotHubStatusCode.UNAUTHORIZED, refusal.getStatusCode(), refusal.toString());
        // Over HTTPS the client would go on asking, and have messages as soon as it is believed.
        device.close();
    }
}
