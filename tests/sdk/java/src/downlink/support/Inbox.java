package downlink.support;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;

/** What has arrived and not been looked at yet, in order of arrival. */
public final class Inbox<T> {
    private final LinkedBlockingQueue<T> items = new LinkedBlockingQueue<>();

    /** Adds an item. */
    public void add(T item) {
        items.add(item);
    }

    /** Says whether there is nothing nobody has taken. */
    public boolean isEmpty() {
        return items.isEmpty();
    }

    /** Removes and returns the oldest item. */
    public T next(String what) throws InterruptedException {
        return next(what, Waiting.PATIENCE);
    }

    /** Removes and returns the oldest item, which may take longer than others to come. */
    public T next(String what, Duration patience) throws InterruptedException {
        T item = items.poll(patience.toMillis(), TimeUnit.MILLISECONDS);
        if (item == null) {
            throw new AssertionError("waited " + patience.toSeconds() + " s for " + what);
        }
        return item;
    }

    /** Removes items until one is as wanted, and returns that one. */
    public T find(String what, Predicate<T> isWanted) throws InterruptedException {
        for (;;) {
            T item = next(what);
            if (isWanted.test(item)) {
                return item;
            }
        }
    }

    /** Removes and returns the oldest items. */
    public List<T> take(int count, String what) throws InterruptedException {
        List<T> taken = new ArrayList<>();
        while (taken.size() < count) {
            taken.add(next(what + " (" + taken.size() + " of " + count + " came)"));
        }
        return taken;
    }
}
