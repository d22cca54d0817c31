package downlink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonParser;
import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.twin.DirectMethodResponse;
import com.microsoft.azure.sdk.iot.device.twin.MethodCallback;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubGatewayTimeoutException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubNotFoundException;
import com.microsoft.azure.sdk.iot.service.methods.DirectMethodRequestOptions;
import downlink.support.BackEnd;
import downlink.support.Bench;
import downlink.support.Hubs;
import downlink.support.OverEveryTransport;
import downlink.support.TestDevice;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;

/** Direct methods between the service SDK and devices (methods.md, amqp.md §6). */
class MethodsTest {
    private final BackEnd backEnd = Hubs.backEnd();

    @OverEveryTransport
    void a_call_carries_its_payload_to_the_device_and_its_answer_back(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        TestDevice device = answering(bench, transport, (name, payload, context) ->
            new DirectMethodResponse(200, Map.of(
                "method", name, "doubled", payload.getPayload(Integer.class) * 2)));
        var answer = backEnd.methods.invoke(device.id(), "double", options(21));
        assertEquals(200, answer.getStatus());
        assertEquals(JsonParser.parseString("{\"method\":\"double\",\"doubled\":42}"),
            answer.getPayloadAsJsonElement());
    }

    @OverEveryTransport
    void a_call_without_a_payload_is_answered_without_one(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        TestDevice device = answering(bench, transport,
            (name, payload, context) -> new DirectMethodResponse(204, null));
        var answer = backEnd.methods.invoke(device.id(), "ping", options(null));
        assertEquals(204, answer.getStatus());
        assertTrue(answer.getPayloadAsJsonElement().isJsonNull());
    }

    @OverEveryTransport
    void the_status_the_device_answers_with_reaches_the_caller(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        TestDevice device = answering(bench, transport, (name, payload, context) ->
            new DirectMethodResponse(Integer.parseInt(name), "said so"));
        for (int status : new int[] {200, 404, 500, 1234}) {
            String name = Integer.toString(status);
            var answer = backEnd.methods.invoke(device.id(), name, options(null));
            assertEquals(status, answer.getStatus());
            assertEquals("said so", answer.getPayload(String.class));
        }
    }

    @OverEveryTransport
    void a_large_payload_travels_both_ways_whole(IotHubClientProtocol transport, Bench bench)
            throws Exception {
        TestDevice device = answering(bench, transport, (name, payload, context) ->
            new DirectMethodResponse(200, payload.getPayload(String.class)));
        String text = "downlink ".repeat(14_000);
        var answer = backEnd.methods.invoke(device.id(), "echo", options(text));
        assertEquals(text, answer.getPayload(String.class));
    }

    @OverEveryTransport
    void calls_side_by_side_get_each_its_own_answer(IotHubClientProtocol transport, Bench bench)
            throws Exception {
        TestDevice device = answering(bench, transport, (name, payload, context) ->
            new DirectMethodResponse(200, payload.getPayload(Integer.class)));
        List<CompletableFuture<Integer>> calls = IntStream.range(0, 10)
            .mapToObj(n -> CompletableFuture.supplyAsync(() -> echo(device.id(), n)))
            .toList();
        for (int n = 0; n < calls.size(); n += 1) {
            assertEquals(n, calls.get(n).get());
        }
    }

    @OverEveryTransport
    void a_device_that_does_not_listen_or_is_gone_is_not_found(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        TestDevice device = bench.connect(transport);
        assertThrows(IotHubNotFoundException.class,
            () -> backEnd.methods.invoke(device.id(), "ping", options(null)));
        device.client.subscribeToMethods(
            (name, payload, context) -> new DirectMethodResponse(200, null), null);
        assertEquals(200, backEnd.methods.invoke(device.id(), "ping", options(null)).getStatus());
        device.close();
        assertThrows(IotHubNotFoundException.class,
            () -> backEnd.methods.invoke(device.id(), "ping", options(null)));
    }

    @OverEveryTransport
    void a_call_waits_for_a_device_that_is_still_to_connect(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        TestDevice device = bench.device(backEnd.register(), transport);
        var waiting = DirectMethodRequestOptions.builder()
            .methodConnectTimeoutSeconds(20).methodResponseTimeoutSeconds(20).build();
        CompletableFuture<Integer> call = CompletableFuture.supplyAsync(() -> {
            try {
                return backEnd.methods.invoke(device.id(), "ping", waiting).getStatus();
            } catch (Exception failure) {
                throw new IllegalStateException(failure);
            }
        });
        device.open().client.subscribeToMethods(
            (name, payload, context) -> new DirectMethodResponse(201, null), null);
        assertEquals(201, call.get());
    }

    @OverEveryTransport
    void a_device_that_gives_no_answer_in_time_ends_the_call(
            IotHubClientProtocol transport, Bench bench) throws Exception {
        CompletableFuture<Void> end = new CompletableFuture<>();
        bench.keep(() -> end.complete(null));
        TestDevice device = answering(bench, transport, (name, payload, context) -> {
            end.join();
            return new DirectMethodResponse(200, null);
        });
        var hasty = DirectMethodRequestOptions.builder()
            .methodConnectTimeoutSeconds(0).methodResponseTimeoutSeconds(5).build();
        assertThrows(IotHubGatewayTimeoutException.class,
            () -> backEnd.methods.invoke(device.id(), "think", hasty));
    }

    private TestDevice answering(
            Bench bench, IotHubClientProtocol transport, MethodCallback answer) throws Exception {
        TestDevice device = bench.connect(transport);
        device.client.subscribeToMethods(answer, null);
        return device;
    }

    private int echo(String deviceId, int number) {
        try {
            return backEnd.methods.invoke(deviceId, "echo", options(number))
                .getPayload(Integer.class);
        } catch (Exception failure) {
            throw new IllegalStateException(failure);
        }
    }

    /** Without these timeouts the SDK asks the hub to wait 200 s and gives up after 24 s itself. */
    private static DirectMethodRequestOptions options(Object payload) {
        return DirectMethodRequestOptions.builder()
            .payload(payload)
            .methodConnectTimeoutSeconds(0)
            .methodResponseTimeoutSeconds(15)
            .build();
    }
}
