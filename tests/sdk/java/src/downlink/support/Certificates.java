package downlink.support;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;

/** Makes certificates with OpenSSL's command, in a folder that is gone when the tests are. */
public final class Certificates {
    /** A key on the curve that most devices have. */
    public static final List<String> EC =
        List.of("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1");
    /** A key of the other algorithm. */
    public static final List<String> RSA = List.of("-newkey", "rsa:2048");

    private static final String AUTHORITY =
        "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n";
    private static final String CLIENT =
        "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\n";

    private final Path folder;
    private final AtomicInteger made = new AtomicInteger();

    Certificates(Path parent) throws IOException {
        folder = Files.createDirectory(parent.resolve("certificates"));
    }

    /** A certificate that only its thumbprint speaks for. */
    public Identity selfSigned(String commonName, List<String> key) throws Exception {
        Pair files = fresh();
        selfSign(files, commonName, key, List.of());
        return new Identity(files.certificate, files.key, "");
    }

    /** An authority that nobody stands above. */
    public Authority authority(String commonName) throws Exception {
        Pair files = fresh();
        selfSign(files, commonName, EC, List.of("-addext", "keyUsage=critical,keyCertSign,cRLSign"));
        return new Authority(commonName, files, "");
    }

    private void selfSign(Pair files, String commonName, List<String> key, List<String> more)
            throws Exception {
        openssl(List.of("req", "-x509"), key, more,
            List.of("-nodes", "-days", "2", "-subj", "/CN=" + commonName,
                "-keyout", files.key.toString(), "-out", files.certificate.toString()));
    }

    private Pair fresh() {
        int number = made.incrementAndGet();
        return new Pair(number, folder.resolve(number + ".pem"), folder.resolve(number + ".key"));
    }

    @SafeVarargs
    private static void openssl(List<String>... words) throws Exception {
        List<String> command =
            Stream.concat(Stream.of("openssl"), Stream.of(words).flatMap(List::stream)).toList();
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String said = new String(process.getInputStream().readAllBytes());
        if (process.waitFor() != 0) {
            throw new IOException(String.join(" ", command) + ": " + said);
        }
    }

    private record Pair(int number, Path certificate, Path key) {}

    /** Signs devices, other authorities and proofs. */
    public final class Authority {
        /** What its subject says. */
        public final String commonName;
        private final Pair files;
        private final String chain;

        private Authority(String commonName, Pair files, String chain) {
            this.commonName = commonName;
            this.files = files;
            this.chain = chain;
        }

        /** Its certificate. */
        public String pem() throws IOException {
            return Files.readString(files.certificate);
        }

        /** An authority below this one. */
        public Authority below(String commonName) throws Exception {
            Pair lower = sign(commonName, EC, AUTHORITY);
            return new Authority(commonName, lower, Files.readString(lower.certificate) + chain);
        }

        /** A device's certificate, with those between it and the root. */
        public Identity issue(String commonName) throws Exception {
            return issue(commonName, EC);
        }

        /** The same with a key of the caller's choice. */
        public Identity issue(String commonName, List<String> key) throws Exception {
            Pair device = sign(commonName, key, CLIENT);
            return new Identity(device.certificate, device.key, chain);
        }

        /** A device's certificate by itself, as a device that does not know its chain has it. */
        public Identity issueAlone(String commonName) throws Exception {
            Pair device = sign(commonName, EC, CLIENT);
            return new Identity(device.certificate, device.key, "");
        }

        private Pair sign(String commonName, List<String> key, String extensions) throws Exception {
            Pair signed = fresh();
            Path request = folder.resolve(signed.number + ".csr");
            Path extra = Files.writeString(folder.resolve(signed.number + ".ext"), extensions);
            openssl(List.of("req", "-new"), key,
                List.of("-nodes", "-subj", "/CN=" + commonName,
                    "-keyout", signed.key.toString(), "-out", request.toString()));
            openssl(List.of("x509", "-req", "-in", request.toString(), "-days", "1",
                "-CA", files.certificate.toString(), "-CAkey", files.key.toString(),
                "-set_serial", String.valueOf(1000 + signed.number),
                "-extfile", extra.toString(), "-out", signed.certificate.toString()));
            return signed;
        }
    }
}
