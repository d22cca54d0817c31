package downlink.support;

import com.azure.core.credential.AccessToken;
import com.azure.core.credential.TokenCredential;
import com.azure.core.credential.TokenRequestContext;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import reactor.core.publisher.Mono;

/** The OpenID Connect server of tests/sdk/oidc, and credentials that it gives tokens to. */
public final class Issuer implements AutoCloseable {
    /** The audience that the SDKs' tokens have at the original service. */
    public static final String SERVICE = "https://iothubs.azure.net";

    private static final Path PROGRAM = Path.of("..", "oidc", "issuer.mjs");

    private final Path folder;
    private final Process process;
    private final JsonObject facts;

    private Issuer(Path folder, Process process, JsonObject facts) {
        this.folder = folder;
        this.process = process;
        this.facts = facts;
    }

    /** Starts an issuer on a free port, in a folder of its own below that one. */
    public static Issuer start(Path parent, String name) throws Exception {
        Path folder = Files.createDirectories(parent.resolve(name));
        // It ends with its standard input, which ends with this process.
        Process process = new ProcessBuilder(
                "node", PROGRAM.toAbsolutePath().toString(), folder.toString())
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve("log").toFile())
            .start();
        Path facts = folder.resolve("issuer.json");
        JsonObject read = Waiting.forAnswer("the issuer to start", () -> {
            if (!process.isAlive()) {
                throw new IllegalStateException(Files.readString(folder.resolve("log")));
            }
            return Files.exists(facts)
                ? Optional.of(JsonParser.parseString(Files.readString(facts)).getAsJsonObject())
                : Optional.empty();
        });
        return new Issuer(folder, process, read);
    }

    /** Settings of a hub that trusts this issuer. */
    public Path settings() {
        return folder.resolve("oidc.toml");
    }

    /** A credential, as the SDK takes it, of one of the issuer's clients. */
    public Credential credential(String client) {
        return credential(client, SERVICE);
    }

    /** The same with an audience of the caller's choice. */
    public Credential credential(String client, String resource) {
        return new Credential(client, resource);
    }

    @Override
    public void close() throws IOException, InterruptedException {
        process.getOutputStream().close();
        if (!process.waitFor(Waiting.PATIENCE.toMillis(), TimeUnit.MILLISECONDS)) {
            process.destroyForcibly();
            throw new IllegalStateException("the issuer did not end; see " + folder);
        }
    }

    /** What a user writes to bring tokens of his own issuer: the SDK's scope is not it. */
    public final class Credential implements TokenCredential {
        /** The tokens it was given, the newest last. */
        public final List<AccessToken> given = new CopyOnWriteArrayList<>();

        private final Map<String, String> form;
        // Not sooner: the first one makes the JVM's TLS context, with what is trusted by then.
        private final HttpClient http = HttpClient.newHttpClient();

        private Credential(String client, String resource) {
            form = Map.of(
                "grant_type", "client_credentials",
                "client_id", client,
                "client_secret", facts.get("secret").getAsString(),
                "resource", resource);
        }

        @Override
        public Mono<AccessToken> getToken(TokenRequestContext scopeOfTheSdk) {
            return Mono.fromCallable(this::next);
        }

        /** Asks the issuer for a token. */
        public AccessToken next() throws IOException, InterruptedException {
            String body = form.entrySet().stream()
                .map(field -> field.getKey() + "=" + encode(field.getValue()))
                .collect(Collectors.joining("&"));
            HttpRequest request = HttpRequest.newBuilder(URI.create(facts.get("token").getAsString()))
                .header("Content-Type", "application/x-www-form-urlencoded")
                .timeout(Waiting.PATIENCE)
                .POST(HttpRequest.BodyPublishers.ofString(body))
                .build();
            HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() != 200) {
                throw new IOException("the issuer answered " + answer.statusCode() + ": " + answer.body());
            }
            JsonObject token = JsonParser.parseString(answer.body()).getAsJsonObject();
            OffsetDateTime end = OffsetDateTime.now(ZoneOffset.UTC)
                .plusSeconds(token.get("expires_in").getAsLong());
            AccessToken made = new AccessToken(token.get("access_token").getAsString(), end);
            given.add(made);
            return made;
        }

        private String encode(String text) {
            return URLEncoder.encode(text, StandardCharsets.UTF_8);
        }
    }
}
