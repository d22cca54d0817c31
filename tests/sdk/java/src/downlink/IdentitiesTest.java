package downlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.service.auth.AuthenticationType;
import com.microsoft.azure.sdk.iot.service.auth.SymmetricKey;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubBadFormatException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubConflictException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubNotFoundException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubPreconditionFailedException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubUnauthorizedException;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.Module;
import com.microsoft.azure.sdk.iot.service.registry.RegistryClient;
import com.microsoft.azure.sdk.iot.service.twin.DeviceCapabilities;
import downlink.support.BackEnd;
import downlink.support.Hubs;
import java.util.List;
import java.util.UUID;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** Modules, scopes and keys by the service SDK's registry client (registry.md §2.1, §3). */
class IdentitiesTest {
    private final BackEnd backEnd = Hubs.backEnd();
    private final RegistryClient registry = backEnd.registry;

    private static String newId() {
        return "device-" + UUID.randomUUID();
    }

    private Device edge() throws Exception {
        Device device = new Device(newId(), AuthenticationType.SAS);
        DeviceCapabilities capabilities = new DeviceCapabilities();
        capabilities.setIotEdge(true);
        device.setCapabilities(capabilities);
        return registry.addDevice(device);
    }

    @Test
    void a_module_is_made_read_listed_changed_and_removed() throws Exception {
        String device = backEnd.register().getDeviceId();
        Module made = registry.addModule(new Module(device, "pump", AuthenticationType.SAS));
        assertEquals("pump", made.getId());
        assertNotNull(made.getPrimaryKey());
        assertNotEquals(made.getPrimaryKey(), made.getSecondaryKey());
        Module read = registry.getModule(device, "pump");
        assertEquals(made.getPrimaryKey(), read.getPrimaryKey());
        assertEquals(made.getETag(), read.getETag());
        List<Module> listed = registry.getModulesOnDevice(device);
        assertEquals(1, listed.size());

        Module changed = registry.updateModule(read);
        assertNotEquals(read.getETag(), changed.getETag());
        assertEquals(read.getPrimaryKey(), changed.getPrimaryKey());
        assertEquals(read.getGenerationId(), changed.getGenerationId());
        assertThrows(IotHubPreconditionFailedException.class, () -> registry.removeModule(read));
        registry.removeModule(changed);
        assertThrows(IotHubNotFoundException.class, () -> registry.getModule(device, "pump"));
        assertEquals(0, registry.getModulesOnDevice(device).size());
    }

    @Test
    void modules_prove_themselves_in_every_way() throws Exception {
        String device = backEnd.register().getDeviceId();
        Module signed = new Module(device, "signed", AuthenticationType.SELF_SIGNED);
        signed.setThumbprint("aB".repeat(20), "0c".repeat(20));
        Module made = registry.addModule(signed);
        assertEquals("aB".repeat(20), made.getPrimaryThumbprint());
        Module vouched = new Module(device, "vouched", AuthenticationType.CERTIFICATE_AUTHORITY);
        assertEquals(AuthenticationType.CERTIFICATE_AUTHORITY,
            registry.addModule(vouched).getAuthenticationType());
    }

    @Test
    void modules_that_cannot_be_made_are_refused_by_kind() throws Exception {
        String device = backEnd.register().getDeviceId();
        registry.addModule(new Module(device, "pump", AuthenticationType.SAS));
        IotHubException there = assertThrows(IotHubConflictException.class,
            () -> registry.addModule(new Module(device, "pump", AuthenticationType.SAS)));
        assertEquals(409301, there.getErrorCode());
        assertThrows(IotHubUnauthorizedException.class,
            () -> registry.addModule(new Module(newId(), "pump", AuthenticationType.SAS)));
        assertThrows(IotHubBadFormatException.class,
            () -> registry.addModule(new Module(device, "$mine", AuthenticationType.SAS)));
        assertThrows(IotHubNotFoundException.class,
            () -> registry.updateModule(new Module(device, "nobody", AuthenticationType.SAS)));
    }

    @Test
    void an_edge_device_has_system_modules_and_leaves_name_its_scope() throws Exception {
        Device edge = edge();
        String scope = "ms-azure-iot-edge://" + edge.getDeviceId() + "-" + edge.getGenerationId();
        assertEquals(scope, edge.getScope());
        List<String> modules = registry.getModulesOnDevice(edge.getDeviceId()).stream()
            .map(Module::getId).collect(Collectors.toList());
        assertEquals(List.of("$edgeAgent", "$edgeHub"), modules);

        Device leaf = new Device(newId(), AuthenticationType.SAS);
        leaf.setScope(scope);
        Device made = registry.addDevice(leaf);
        assertEquals(scope, made.getScope());
        assertEquals(List.of(scope), made.getParentScopes());
        Device again = registry.updateDevice(made);
        assertEquals(scope, again.getScope());

        Device child = edge();
        child.getParentScopes().add(scope);
        Device attached = registry.updateDevice(child);
        assertTrue(attached.getParentScopes().contains(scope));

        Device lost = new Device(newId(), AuthenticationType.SAS);
        lost.setScope("ms-azure-iot-edge://" + newId() + "-1");
        assertThrows(IotHubBadFormatException.class, () -> registry.addDevice(lost));
    }

    @Test
    void keys_are_exchanged_by_an_update() throws Exception {
        Device made = backEnd.register();
        String old = made.getPrimaryKey();
        SymmetricKey keys = new SymmetricKey();
        keys.setPrimaryKey(made.getSecondaryKey());
        keys.setSecondaryKey(old);
        made.setSymmetricKey(keys);
        Device changed = registry.updateDevice(made);
        assertEquals(old, changed.getSecondaryKey());
        assertNotEquals(old, changed.getPrimaryKey());
        assertThrows(IotHubPreconditionFailedException.class, () -> registry.removeDevice(made));
        registry.removeDevice(changed);
    }
}
