// Waiting for events with a limit, so that a test that cannot pass fails with a sentence.

/** Milliseconds a test waits for something that should come soon. */
export const PATIENCE = 15_000;

/** Rejects with `what` when `promise` has not settled after `patience` milliseconds. */
export function within(promise, what, patience = PATIENCE) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${patience} ms for ${what}`)), patience);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

/**
 * Asks `probe` again until it returns something truthy. For facts that the hub shows only when
 * asked; what it announces is awaited with an Inbox.
 */
export async function eventually(probe, what, patience = PATIENCE) {
  const end = Date.now() + patience;
  for (;;) {
    const answer = await probe();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited ${patience} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What has arrived and not been looked at yet, in order of arrival. */
export class Inbox {
  #items = [];
  #watchers = new Set();

  push(item) {
    this.#items.push(item);
    for (const wake of this.#watchers) wake();
    this.#watchers.clear();
  }

  /** Number of items nobody has taken. */
  get size() {
    return this.#items.length;
  }

  /** Removes and returns the first item that `matches`. */
  async find(matches, what = 'an item', patience = PATIENCE) {
    const end = Date.now() + patience;
    for (;;) {
      const position = this.#items.findIndex(matches);
      if (position >= 0) return this.#items.splice(position, 1)[0];
      const arrival = new Promise((resolve) => {
        this.#watchers.add(resolve);
      });
      await within(arrival, what, Math.max(1, end - Date.now()));
    }
  }

  /** Removes and returns the oldest item. */
  next(what = 'an item', patience = PATIENCE) {
    return this.find(() => true, what, patience);
  }

  /** Removes and returns the oldest `count` items. */
  async take(count, what = 'items', patience = PATIENCE) {
    const end = Date.now() + patience;
    const taken = [];
    while (taken.length < count) {
      const left = Math.max(1, end - Date.now());
      taken.push(await this.next(`${what} (${taken.length} of ${count} came)`, left));
    }
    return taken;
  }
}
