package downlink.support;

import java.time.Duration;
import java.time.Instant;
import java.util.Optional;
import java.util.concurrent.Callable;

/** Waiting for events with a limit, so that a test that cannot pass fails with a sentence. */
public final class Waiting {
    /** How long a test waits for something that should come soon. */
    public static final Duration PATIENCE = Duration.ofSeconds(20);

    /**
     * Milliseconds a service client may take to close. The SDK asks its network thread to close
     * the connection without waking it, so that a longer time would only be waited out.
     */
    public static final int GOODBYE = 500;

    private Waiting() {}

    /**
     * Asks again until the answer is yes. For facts that are shown only to those who ask; what is
     * announced is awaited with an {@link Inbox}.
     */
    public static void until(String what, Callable<Boolean> probe) throws Exception {
        forAnswer(what, () -> probe.call() ? Optional.of(true) : Optional.empty());
    }

    /** Asks again until there is an answer. */
    public static <T> T forAnswer(String what, Callable<Optional<T>> probe) throws Exception {
        Instant end = Instant.now().plus(PATIENCE);
        for (;;) {
            Optional<T> answer = probe.call();
            if (answer.isPresent()) {
                return answer.get();
            }
            if (Instant.now().isAfter(end)) {
                throw new AssertionError("waited " + PATIENCE.toSeconds() + " s for " + what);
            }
            Thread.sleep(20);
        }
    }
}
