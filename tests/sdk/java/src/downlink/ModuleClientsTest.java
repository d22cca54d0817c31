package downlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.ModuleClient;
import com.microsoft.azure.sdk.iot.device.twin.DirectMethodResponse;
import com.microsoft.azure.sdk.iot.device.twin.Twin;
import com.microsoft.azure.sdk.iot.device.twin.TwinCollection;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubNotFoundException;
import com.microsoft.azure.sdk.iot.service.methods.DirectMethodRequestOptions;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.Module;
import downlink.support.BackEnd;
import downlink.support.Bench;
import downlink.support.Hubs;
import downlink.support.Inbox;
import downlink.support.OverEveryTransport;
import downlink.support.TestDevice;
import java.util.Map;
import java.util.UUID;
import org.junit.jupiter.api.Test;

/** Modules as clients (twins.md §6, methods.md). */
class ModuleClientsTest {
    private final BackEnd backEnd = Hubs.backEnd();

    @OverEveryTransport
    void a_module_hears_of_desired_changes_and_reports(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        Module module = register();
        ModuleClient client = connect(module, transport, bench);
        Inbox<Twin> changes = new Inbox<>();
        client.subscribeToDesiredProperties((twin, context) -> changes.add(twin), null);
        var wish = new com.microsoft.azure.sdk.iot.service.twin.Twin(
            module.getDeviceId(), module.getId());
        wish.getDesiredProperties().put("rate", 5);
        backEnd.twins.patch(wish);
        TwinCollection change = changes.next("the change").getDesiredProperties();
        assertEquals(5, ((Number) change.get("rate")).intValue());
        assertEquals(2, change.getVersion());

        TwinCollection report = new TwinCollection();
        report.put("rate", 5);
        TestDevice.answered(() -> client.updateReportedProperties(report, 4_000));
        var twin = backEnd.twins.get(module.getDeviceId(), module.getId());
        assertEquals(module.getId(), twin.getModuleId());
        assertEquals(5, ((Number) twin.getReportedProperties().get("rate")).intValue());
        assertEquals(2, backEnd.twins.get(module.getDeviceId()).getVersion());
    }

    @OverEveryTransport
    void a_module_answers_methods(IotHubClientProtocol transport, Bench bench) throws Exception {
        Module module = register();
        ModuleClient client = connect(module, transport, bench);
        client.subscribeToMethods(
            (name, payload, context) -> new DirectMethodResponse(
                200, Map.of("doubled", payload.getPayload(Integer.class) * 2)),
            null);
        var options = DirectMethodRequestOptions.builder()
            .payload(21).methodResponseTimeoutSeconds(10).methodConnectTimeoutSeconds(5).build();
        var answer = backEnd.methods.invoke(
            module.getDeviceId(), module.getId(), "double", options);
        assertEquals(200, answer.getStatus());
        assertEquals(42, answer.getPayloadAsJsonElement().getAsJsonObject()
            .get("doubled").getAsInt());
    }

    @Test
    void a_module_that_does_not_exist_fails_as_the_contract_says() throws Exception {
        Device device = backEnd.register();
        assertThrows(IotHubNotFoundException.class,
            () -> backEnd.twins.get(device.getDeviceId(), "nothing"));
        var missingMethod = assertThrows(IotHubNotFoundException.class,
            () -> backEnd.methods.invoke(device.getDeviceId(), "nothing", "reboot"));
        assertEquals(404_010, missingMethod.getErrorCode());
    }

    private Module register() throws Exception {
        Device device = backEnd.register();
        return backEnd.registry.addModule(
            new Module(device.getDeviceId(), "module-" + UUID.randomUUID()));
    }

    private static ModuleClient connect(
            Module module, IotHubClientProtocol transport, Bench bench) throws Exception {
        String connection = "HostName=" + Hubs.devices().hostName()
            + ";DeviceId=" + module.getDeviceId() + ";ModuleId=" + module.getId()
            + ";SharedAccessKey=" + module.getPrimaryKey();
        ModuleClient client = new ModuleClient(connection, transport);
        bench.keep(client::close);
        client.open(false);
        return client;
    }
}
