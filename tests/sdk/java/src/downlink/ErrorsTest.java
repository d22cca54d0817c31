package downlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.microsoft.azure.sdk.iot.service.exceptions.ErrorCodeDescription;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubBadFormatException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubBadGatewayException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubConflictException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubExceptionManager;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubGatewayTimeoutException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubInternalServerErrorException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubNotFoundException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubPreconditionFailedException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubServerBusyException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubTooManyDevicesException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubTooManyRequestsException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubUnauthorizedException;
import com.microsoft.azure.sdk.iot.service.methods.DirectMethodRequestOptions;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.RegistryClient;
import com.microsoft.azure.sdk.iot.service.transport.http.HttpResponse;
import downlink.support.BackEnd;
import downlink.support.Hubs;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** What the SDK makes of failures (errors-limits.md §2): some that happen, and every cause of the catalogue. */
class ErrorsTest {
    private static final Map<Integer, Class<? extends IotHubException>> BY_STATUS = Map.ofEntries(
        Map.entry(400, IotHubBadFormatException.class),
        Map.entry(401, IotHubUnauthorizedException.class),
        Map.entry(403, IotHubTooManyDevicesException.class),
        Map.entry(404, IotHubNotFoundException.class),
        Map.entry(409, IotHubConflictException.class),
        Map.entry(412, IotHubPreconditionFailedException.class),
        Map.entry(429, IotHubTooManyRequestsException.class),
        Map.entry(500, IotHubInternalServerErrorException.class),
        Map.entry(502, IotHubBadGatewayException.class),
        Map.entry(503, IotHubServerBusyException.class),
        Map.entry(504, IotHubGatewayTimeoutException.class));

    private final BackEnd backEnd = Hubs.backEnd();

    @Test
    void every_cause_is_the_exception_of_its_status_and_keeps_its_number_where_the_body_has_it() throws Exception {
        String text = Files.readString(Path.of("..", "catalogue.json"));
        int seen = 0;
        for (JsonElement element : JsonParser.parseString(text).getAsJsonArray()) {
            JsonObject row = element.getAsJsonObject();
            int status = row.get("status").getAsInt();
            int number = row.get("number").getAsInt();
            String name = row.get("name").getAsString();
            Class<? extends IotHubException> expected = BY_STATUS.getOrDefault(status, IotHubException.class);
            IotHubException classic = raised(status, row.get("classic").getAsString());
            assertEquals(expected, classic.getClass(), name);
            IotHubException nested = raised(status, row.get("nested").getAsString());
            assertEquals(expected, nested.getClass(), name);
            assertEquals(number, nested.getErrorCode(), name);
            assertEquals(ErrorCodeDescription.Parse(number), nested.getErrorCodeDescription(), name);
            seen++;
        }
        assertTrue(seen > 150);
    }

    @Test
    void failures_that_happen_are_the_exceptions_of_the_sdk() throws Exception {
        Device made = backEnd.register();
        String nobody = "nobody-" + UUID.randomUUID();
        RegistryClient reader = new RegistryClient(Hubs.devices().policy("registryRead"));
        var atOnce = DirectMethodRequestOptions.builder().methodConnectTimeoutSeconds(0).methodResponseTimeoutSeconds(5).build();
        is(IotHubNotFoundException.class, () -> backEnd.registry.getDevice(nobody));
        is(IotHubConflictException.class, () -> backEnd.register(made.getDeviceId()));
        is(IotHubUnauthorizedException.class, () -> reader.removeDevice(made.getDeviceId()));
        is(IotHubNotFoundException.class, () -> backEnd.twins.get(nobody));
        IotHubException away = is(IotHubNotFoundException.class,
            () -> backEnd.methods.invoke(made.getDeviceId(), "m", atOnce));
        assertEquals(404103, away.getErrorCode());
        assertEquals(ErrorCodeDescription.DeviceNotOnline, away.getErrorCodeDescription());
        IotHubException unknown = is(IotHubNotFoundException.class,
            () -> backEnd.methods.invoke(nobody, "m", atOnce));
        assertEquals(404001, unknown.getErrorCode());
    }

    private static <T extends IotHubException> T is(Class<T> expected, Executable failing) {
        return assertThrows(expected, failing);
    }

    private static IotHubException raised(int status, String body) {
        byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
        HttpResponse response = new HttpResponse(status, new byte[0], Map.<String, List<String>>of(), bytes);
        return assertThrows(IotHubException.class, () -> IotHubExceptionManager.httpResponseVerification(response));
    }
}
