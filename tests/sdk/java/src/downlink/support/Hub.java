package downlink.support;

import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/** A Downlink process of this suite: its address, its data, its life and its death. */
public final class Hub {
    private static final Path HOSTS = Path.of("..", "hosts.txt");

    private final List<String> names;
    private final Map<String, String> settings;
    private final Map<String, String> environment;
    private final Path folder;
    private final Path data;
    private final Path log;
    private Process process;
    private JsonObject facts;

    /**
     * Describes a hub that is not started yet.
     *
     * @param names its host names, of tests/sdk/hosts.txt; it listens on the address of the first
     * @param settings configuration keys and values
     * @param environment variables of its process besides those of this one
     * @param folder where it keeps its data and writes its log
     */
    Hub(List<String> names, Map<String, String> settings, Map<String, String> environment,
            Path folder) {
        this.names = names;
        this.settings = settings;
        this.environment = environment;
        this.folder = folder;
        this.data = folder.resolve(names.get(0));
        this.log = folder.resolve(names.get(0) + ".log");
    }

    /** The loopback address that a name has in tests/sdk/hosts.txt. */
    public static String addressOf(String name) throws IOException {
        return Files.readAllLines(HOSTS).stream()
            .filter(line -> line.endsWith(" " + name))
            .map(line -> line.split(" ")[0])
            .findFirst()
            .orElseThrow(() -> new IOException(name + " is not in tests/sdk/hosts.txt"));
    }

    /** Starts the server and waits until it has said where it is. */
    void start() throws Exception {
        Path connect = data.resolve("connect.json");
        Files.deleteIfExists(connect);
        List<String> command = new ArrayList<>(List.of(System.getenv("DOWNLINK_BIN"), "dev"));
        command.addAll(List.of("--data", data.toString(), "--listen", address()));
        command.addAll(List.of("--grpc-port", "0", "--metrics-port", "0"));
        names.forEach(name -> command.addAll(List.of("--host", name)));
        settings.forEach((key, value) -> command.addAll(List.of("--set", key + "=" + value)));
        ProcessBuilder server = new ProcessBuilder(command)
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile()));
        server.environment().putAll(environment);
        process = server.start();
        // A test run that ends early must not leave a server on the suite's address.
        Runtime.getRuntime().addShutdownHook(new Thread(process::destroyForcibly));
        process.getOutputStream().close();
        facts = Waiting.forAnswer(names.get(0) + " to start", () -> read(connect));
        for (String door : List.of("mqtts", "amqps", "https")) {
            int port = facts.getAsJsonObject("ports").get(door).getAsInt();
            Waiting.until("port " + port + " of " + names.get(0), () -> accepts(port));
        }
    }

    /** Asks the server to end, and returns its exit code. */
    int stop() throws InterruptedException {
        process.destroy();
        if (!process.waitFor(Waiting.PATIENCE.toMillis(), TimeUnit.MILLISECONDS)) {
            process.destroyForcibly();
            throw new IllegalStateException(hostName() + " did not end when asked to; see " + log);
        }
        return process.exitValue();
    }

    /** The name that stands in connection strings. */
    public String hostName() {
        return names.get(0);
    }

    /** The loopback address it listens on. */
    public String address() throws IOException {
        return addressOf(names.get(0));
    }

    /** The certificate authority that its clients must trust. */
    Path caFile() {
        return folder.resolve(facts.get("caFile").getAsString());
    }

    /** The connection string of a shared access policy. */
    public String policy(String name) {
        return facts.getAsJsonObject("policies").get(name).getAsString();
    }

    private Optional<JsonObject> read(Path connect) throws IOException {
        if (!process.isAlive()) {
            throw new IllegalStateException(
                "the server ended with " + process.exitValue() + ":\n" + Files.readString(log));
        }
        try {
            return Optional.of(JsonParser.parseString(Files.readString(connect)).getAsJsonObject());
        } catch (IOException | JsonParseException | IllegalStateException notWrittenYet) {
            return Optional.empty();
        }
    }

    private boolean accepts(int port) throws IOException {
        try (Socket socket = new Socket()) {
            socket.connect(new InetSocketAddress(address(), port), 1000);
            return true;
        } catch (IOException refused) {
            return false;
        }
    }
}
