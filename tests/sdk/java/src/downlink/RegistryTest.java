package downlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.service.exceptions.IotHubConflictException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubNotFoundException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubUnauthorizedException;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.DeviceStatus;
import com.microsoft.azure.sdk.iot.service.registry.RegistryClient;
import downlink.support.BackEnd;
import downlink.support.Hubs;
import org.junit.jupiter.api.Test;

/** The service SDK's registry client (rest.md). */
class RegistryTest {
    private final BackEnd backEnd = Hubs.backEnd();

    @Test
    void an_identity_is_made_read_changed_and_deleted() throws Exception {
        Device made = backEnd.register();
        assertEquals(DeviceStatus.Enabled, made.getStatus());
        assertEquals(0, made.getCloudToDeviceMessageCount());
        Device read = backEnd.registry.getDevice(made.getDeviceId());
        assertEquals(made.getPrimaryKey(), read.getPrimaryKey());
        assertEquals(made.getGenerationId(), read.getGenerationId());

        read.setStatus(DeviceStatus.Disabled);
        Device changed = backEnd.registry.updateDevice(read);
        assertEquals(DeviceStatus.Disabled, changed.getStatus());
        assertNotEquals(made.getETag(), changed.getETag());

        backEnd.registry.removeDevice(made.getDeviceId());
        assertThrows(IotHubNotFoundException.class,
            () -> backEnd.registry.getDevice(made.getDeviceId()));
    }

    @Test
    void an_identity_that_exists_cannot_be_made_again() throws Exception {
        Device made = backEnd.register();
        assertThrows(IotHubConflictException.class,
            () -> backEnd.register(made.getDeviceId()));
    }

    @Test
    void the_statistics_count_identities() throws Exception {
        backEnd.register();
        assertTrue(backEnd.registry.getStatistics().getTotalDeviceCount() > 0);
    }

    @Test
    void a_policy_that_may_only_read_may_not_write() throws Exception {
        RegistryClient reader = new RegistryClient(Hubs.devices().policy("registryRead"));
        Device made = backEnd.register();
        assertEquals(made.getETag(), reader.getDevice(made.getDeviceId()).getETag());
        assertThrows(IotHubUnauthorizedException.class,
            () -> reader.addDevice(new Device("a-device-that-is-never-made")));
    }
}
