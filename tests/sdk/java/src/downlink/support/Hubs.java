package downlink.support;

import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * The hubs of this suite, started before the first test and stopped after the last one.
 *
 * <p>The SDKs trust what the JVM trusts: a store that holds the authorities of the hubs, named by
 * {@code javax.net.ssl.trustStore} as a person would name it on the command line.
 */
public final class Hubs implements BeforeAllCallback {
    /** The host name under which a hub is reached through a {@link Cutter}. */
    public static final String CUT_NAME = "java-cut.downlink.test";

    private static final String PASSWORD = "changeit";
    private static volatile Hubs started;

    private final Path folder;
    private final Hub devices;
    private final Hub backEnds;
    private final Hub bearers;
    private final Issuer issuer;
    private final BackEnd backEnd;
    private final Certificates certificates;

    /** Made by JUnit; see {@link #beforeAll}. */
    public Hubs() {
        this.folder = null;
        this.devices = null;
        this.backEnds = null;
        this.bearers = null;
        this.issuer = null;
        this.backEnd = null;
        this.certificates = null;
    }

    private Hubs(Path folder) throws Exception {
        this.folder = folder;
        // Minutes become seconds; a lock of five seconds is the shortest there is.
        devices = new Hub(
            List.of("java.downlink.test", CUT_NAME),
            Map.of(
                "queue.feedback.flush_interval", "200ms",
                "queue.lock_duration", "5s",
                "queue.max_delivery_count", "3",
                "amqp.token_grace", "1s",
                "mqtt.token_grace", "1s"),
            Map.of(),
            folder);
        backEnds = new Hub(
            List.of("java-service.downlink.test"),
            Map.of("queue.feedback.flush_interval", "200ms", "queue.max_depth", "100"),
            Map.of(),
            folder);
        issuer = Issuer.start(folder, "issuer");
        bearers = new Hub(
            List.of("java-oidc.downlink.test"),
            Map.of("queue.feedback.flush_interval", "200ms", "amqp.token_grace", "1s"),
            Map.of("DOWNLINK_CONFIG", issuer.settings().toString()),
            folder);
        CompletableFuture.allOf(List.of(devices, backEnds, bearers).stream()
            .map(hub -> CompletableFuture.runAsync(() -> start(hub)))
            .toArray(CompletableFuture[]::new)).join();
        Path store = folder.resolve("trusted.p12");
        try (OutputStream out = Files.newOutputStream(store)) {
            storeOf(devices.caFile(), backEnds.caFile(), bearers.caFile())
                .store(out, PASSWORD.toCharArray());
        }
        System.setProperty("javax.net.ssl.trustStore", store.toString());
        System.setProperty("javax.net.ssl.trustStorePassword", PASSWORD);
        backEnd = new BackEnd(devices);
        certificates = new Certificates(folder);
    }

    @Override
    public void beforeAll(ExtensionContext context) {
        context.getRoot().getStore(ExtensionContext.Namespace.GLOBAL)
            .getOrComputeIfAbsent(Running.class, key -> new Running(), Running.class);
    }

    /** The hub that most tests share; each test has devices of its own. */
    public static Hub devices() {
        return started.devices;
    }

    /** The back-end of {@link #devices}. */
    public static BackEnd backEnd() {
        return started.backEnd;
    }

    /** A hub whose feedback is read by one test at a time. */
    public static Hub backEnds() {
        return started.backEnds;
    }

    /** A hub that trusts {@link #issuer}. */
    public static Hub bearers() {
        return started.bearers;
    }

    /** Gives tokens to the back-ends of {@link #bearers}. */
    public static Issuer issuer() {
        return started.issuer;
    }

    /** Makes certificates for devices and for authorities above them. */
    public static Certificates certificates() {
        return started.certificates;
    }

    /** The owner's calls at {@link #devices}. */
    public static Administration administration() throws Exception {
        return new Administration(devices());
    }

    /** A TLS context that trusts the hub of {@link #devices} and nobody else. */
    public static SSLContext trusting() throws Exception {
        return contextOf(null, storeOf(devices().caFile()));
    }

    /** The same for a device that shows a certificate. */
    public static SSLContext showing(Identity identity) throws Exception {
        return contextOf(identity.keyManagers(), storeOf(devices().caFile()));
    }

    /** A TLS context that trusts nobody. */
    public static SSLContext distrusting() throws Exception {
        return contextOf(null, storeOf());
    }

    private static SSLContext contextOf(KeyManager[] shown, KeyStore store)
            throws Exception {
        TrustManagerFactory trust =
            TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        // A trust manager without anything to trust cannot be made; the JDK's own is one that
        // does not know this hub.
        trust.init(store.size() == 0 ? jdkStore() : store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(shown, trust.getTrustManagers(), null);
        return context;
    }

    private static KeyStore jdkStore() throws Exception {
        Path file = Path.of(System.getProperty("java.home"), "lib", "security", "cacerts");
        return KeyStore.getInstance(file.toFile(), PASSWORD.toCharArray());
    }

    private static KeyStore storeOf(Path... authorities) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        for (Path authority : authorities) {
            try (InputStream in = Files.newInputStream(authority)) {
                Certificate certificate =
                    CertificateFactory.getInstance("X.509").generateCertificate(in);
                store.setCertificateEntry(authority.toString(), certificate);
            }
        }
        return store;
    }

    private static void start(Hub hub) {
        try {
            hub.start();
        } catch (Exception failure) {
            throw new IllegalStateException(failure);
        }
    }

    private void stop() throws Exception {
        backEnd.close();
        issuer.close();
        for (Hub hub : List.of(devices, backEnds, bearers)) {
            int code = hub.stop();
            if (code != 0) {
                throw new AssertionError(hub.hostName() + " ended with " + code);
            }
        }
    }

    /** The hubs for as long as tests run: JUnit closes what its root store holds. */
    private static final class Running implements AutoCloseable {
        Running() {
            try {
                started = new Hubs(Files.createTempDirectory("downlink-java-"));
                Report.tellFolder(started.folder);
            } catch (Exception failure) {
                throw new IllegalStateException(failure);
            }
        }

        @Override
        public void close() throws Exception {
            started.stop();
        }
    }
}
