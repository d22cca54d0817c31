package downlink.support;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.HexFormat;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;

/** A device's certificate with its key, and the certificates that it sends along. */
public final class Identity {
    private static final char[] PASSWORD = "changeit".toCharArray();

    private final String pem;
    private final PrivateKey key;
    private final Certificate[] chain;

    Identity(Path certificateFile, Path keyFile, String above) throws Exception {
        pem = Files.readString(certificateFile);
        CertificateFactory certificates = CertificateFactory.getInstance("X.509");
        byte[] all = (pem + above).getBytes(StandardCharsets.US_ASCII);
        chain = certificates.generateCertificates(new ByteArrayInputStream(all))
            .toArray(Certificate[]::new);
        key = KeyFactory.getInstance(chain[0].getPublicKey().getAlgorithm())
            .generatePrivate(new PKCS8EncodedKeySpec(der(keyFile)));
    }

    /** The certificate, without those above it. */
    public String pem() {
        return pem;
    }

    /** The SHA-1 or SHA-256 of the certificate, in upper-case hexadecimal. */
    public String thumbprint(String digest) throws Exception {
        byte[] sum = MessageDigest.getInstance(digest).digest(chain[0].getEncoded());
        return HexFormat.of().withUpperCase().formatHex(sum);
    }

    /** What shows the certificate to a server that asks for one. */
    KeyManager[] keyManagers() throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        store.setKeyEntry("device", key, PASSWORD, chain);
        KeyManagerFactory managers =
            KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        managers.init(store, PASSWORD);
        return managers.getKeyManagers();
    }

    private static byte[] der(Path file) throws IOException {
        return Base64.getMimeDecoder()
            .decode(Files.readString(file).replaceAll("-----[A-Z ]+-----", ""));
    }
}
