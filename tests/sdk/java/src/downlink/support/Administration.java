package downlink.support;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.microsoft.azure.sdk.iot.service.auth.IotHubConnectionStringBuilder;
import com.microsoft.azure.sdk.iot.service.auth.IotHubServiceSasToken;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** The calls of a hub's owner that no SDK knows, for the certificates of authorities. */
public final class Administration {
    private final Hub hub;
    private final HttpClient http;

    Administration(Hub hub) throws Exception {
        this.hub = hub;
        this.http = HttpClient.newBuilder().sslContext(Hubs.trusting()).build();
    }

    /** Registers an authority under its name, and proves that its key is held. */
    public void trust(Certificates.Authority authority) throws Exception {
        String at = "certificates/" + authority.commonName;
        call("PUT", at, certificate(authority.pem()));
        String code = call("POST", at + "/verificationCode", null)
            .get("verificationCode").getAsString();
        call("POST", at + "/verify", certificate(authority.issue(code).pem()));
    }

    /** Has the hub forget an authority. */
    public void distrust(Certificates.Authority authority) throws Exception {
        call("DELETE", "certificates/" + authority.commonName, null);
    }

    private static JsonObject certificate(String pem) {
        JsonObject body = new JsonObject();
        body.addProperty("certificate", pem);
        return body;
    }

    private JsonObject call(String method, String path, JsonObject body) throws Exception {
        URI uri = URI.create("https://" + hub.hostName() + "/admin/" + path
            + "?api-version=2021-04-12");
        String token = new IotHubServiceSasToken(IotHubConnectionStringBuilder
            .createIotHubConnectionString(hub.policy("iothubowner"))).toString();
        HttpRequest request = HttpRequest.newBuilder(uri)
            .timeout(Waiting.PATIENCE)
            .header("Authorization", token)
            .header("Content-Type", "application/json")
            .method(method, body == null
                ? HttpRequest.BodyPublishers.noBody()
                : HttpRequest.BodyPublishers.ofString(body.toString()))
            .build();
        HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() / 100 != 2) {
            throw new IOException(
                method + " " + path + ": " + answer.statusCode() + " " + answer.body());
        }
        return answer.body().isEmpty()
            ? new JsonObject() : JsonParser.parseString(answer.body()).getAsJsonObject();
    }
}
