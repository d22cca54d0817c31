package downlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.twin.Twin;
import com.microsoft.azure.sdk.iot.device.twin.TwinCollection;
import downlink.support.BackEnd;
import downlink.support.Bench;
import downlink.support.Hubs;
import downlink.support.Inbox;
import downlink.support.OverEveryTransport;
import downlink.support.TestDevice;
import java.util.Map;

/** Twins between the service SDK and devices (twins.md, amqp.md §7). */
class TwinsTest {
    private final BackEnd backEnd = Hubs.backEnd();

    @OverEveryTransport
    void a_device_reads_its_twin(IotHubClientProtocol transport, Bench bench) throws Exception {
        TestDevice device = bench.connect(transport);
        follow(device);
        Twin empty = device.twin();
        assertEquals(1, empty.getDesiredProperties().getVersion());
        assertEquals(1, empty.getReportedProperties().getVersion());
        desire(device.id(), Map.of("interval", 30, "deep", Map.of("a", Map.of("b", true))));
        Twin twin = device.twin();
        assertEquals(2, twin.getDesiredProperties().getVersion());
        assertEquals(30, ((Number) twin.getDesiredProperties().get("interval")).intValue());
        assertEquals(Map.of("a", Map.of("b", true)), twin.getDesiredProperties().get("deep"));
    }

    @OverEveryTransport
    void what_a_device_reports_is_read_by_the_back_end(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        TestDevice device = bench.connect(transport);
        follow(device);
        TwinCollection report = new TwinCollection();
        report.put("firmware", "1.2.3");
        report.put("free", 512);
        int version = device.report(report);
        var reported = backEnd.twins.get(device.id()).getReportedProperties();
        assertEquals("1.2.3", reported.get("firmware"));
        assertEquals(512, ((Number) reported.get("free")).intValue());
        assertEquals(version, reported.getVersion());

        TwinCollection removal = new TwinCollection();
        removal.put("firmware", null);
        int later = device.report(removal);
        assertTrue(later > version);
        var left = backEnd.twins.get(device.id()).getReportedProperties();
        assertNull(left.get("firmware"));
        assertEquals(later, left.getVersion());
    }

    @OverEveryTransport
    void a_device_hears_of_each_change_of_its_desired_properties_in_order(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        TestDevice device = bench.connect(transport);
        Inbox<Twin> changes = follow(device);
        for (int n = 1; n <= 5; n += 1) {
            desire(device.id(), Map.of("interval", n));
        }
        for (int n = 1; n <= 5; n += 1) {
            TwinCollection change = changes.next("a change").getDesiredProperties();
            assertEquals(n, ((Number) change.get("interval")).intValue());
            assertEquals(n + 1, change.getVersion());
        }
        assertTrue(changes.isEmpty());
    }

    @OverEveryTransport
    void a_change_while_the_device_was_away_is_in_the_twin_it_reads(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        TestDevice device = bench.device(backEnd.register(), transport);
        desire(device.id(), Map.of("mode", "eco"));
        device.open();
        follow(device);
        assertEquals("eco", device.twin().getDesiredProperties().get("mode"));
    }

    @OverEveryTransport
    void a_large_twin_is_read_whole(IotHubClientProtocol transport, Bench bench)
            throws Exception {
        TestDevice device = bench.device(backEnd.register(), transport);
        String text = "x".repeat(4_000);
        desire(device.id(), Map.of("a", text, "b", text, "c", text, "d", text));
        device.open();
        follow(device);
        TwinCollection desired = device.twin().getDesiredProperties();
        for (String key : new String[] {"a", "b", "c", "d"}) {
            assertEquals(text, desired.get(key));
        }
    }

    private static Inbox<Twin> follow(TestDevice device) throws Exception {
        Inbox<Twin> changes = new Inbox<>();
        device.client.subscribeToDesiredProperties((twin, context) -> changes.add(twin), null);
        return changes;
    }

    private void desire(String deviceId, Map<String, Object> properties) throws Exception {
        var twin = new com.microsoft.azure.sdk.iot.service.twin.Twin(deviceId);
        twin.getDesiredProperties().putAll(properties);
        backEnd.twins.patch(twin);
    }
}
