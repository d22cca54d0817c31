package downlink.support;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Comparator;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;

/** Prints a line for each test as it ends, and how many passed at the end. */
public final class Report implements TestExecutionListener {
    private static volatile Path folder;

    private final Map<String, Instant> starts = new ConcurrentHashMap<>();
    private final AtomicInteger passed = new AtomicInteger();
    private final AtomicInteger failed = new AtomicInteger();
    private final AtomicInteger skipped = new AtomicInteger();
    private volatile TestPlan plan;
    private volatile Instant start;

    /** Names the folder with the hubs' logs: removed when all is well and shown when not. */
    static void tellFolder(Path path) {
        folder = path;
    }

    @Override
    public void testPlanExecutionStarted(TestPlan testPlan) {
        plan = testPlan;
        start = Instant.now();
    }

    @Override
    public void executionStarted(TestIdentifier test) {
        starts.put(test.getUniqueId(), Instant.now());
    }

    @Override
    public void executionSkipped(TestIdentifier test, String reason) {
        skipped.incrementAndGet();
        System.out.println("skipped         " + nameOf(test) + ": " + reason);
    }

    @Override
    public void executionFinished(TestIdentifier test, TestExecutionResult result) {
        boolean isGood = result.getStatus() == TestExecutionResult.Status.SUCCESSFUL;
        if (test.isContainer() && isGood) {
            return;
        }
        (isGood ? passed : failed).incrementAndGet();
        Duration took = Duration.between(starts.get(test.getUniqueId()), Instant.now());
        String line = String.format(
            "%-7s %5.1f s  %s", isGood ? "ok" : "FAILED", took.toMillis() / 1000.0, nameOf(test));
        String cause = result.getThrowable().map(Report::shorten).orElse("");
        System.out.println(line + cause);
    }

    @Override
    public void testPlanExecutionFinished(TestPlan testPlan) {
        long took = Duration.between(start, Instant.now()).toSeconds();
        System.out.printf("java: %d passed, %d failed, %d skipped in %d s%n",
            passed.get(), failed.get(), skipped.get(), took);
        if (folder == null) {
            return;
        }
        if (failed.get() == 0) {
            remove(folder);
        } else {
            System.out.println("the servers' logs are in " + folder);
        }
    }

    private String nameOf(TestIdentifier test) {
        String name = test.getDisplayName();
        for (var at = plan.getParent(test); at.isPresent(); at = plan.getParent(at.get())) {
            if (at.get().getParentId().isPresent()) {
                name = at.get().getDisplayName().replaceAll(" ?\\(.*\\)$", "") + " › " + name;
            }
        }
        return name;
    }

    private static String shorten(Throwable failure) {
        StringWriter text = new StringWriter();
        failure.printStackTrace(new PrintWriter(text));
        StringBuilder kept = new StringBuilder();
        text.toString().lines()
            .filter(line -> !line.startsWith("\tat ") || line.contains("downlink."))
            .limit(20)
            .forEach(line -> kept.append("\n        ").append(line));
        return kept.toString();
    }

    private static void remove(Path tree) {
        try (Stream<Path> paths = Files.walk(tree)) {
            paths.sorted(Comparator.reverseOrder()).forEach(path -> path.toFile().delete());
        } catch (java.io.IOException failure) {
            System.out.println(tree + " stays: " + failure);
        }
    }
}
