use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::sync::{Semaphore, mpsc};

use super::{BatchItem, Batcher, BatcherOptions, SubmitError, TryEnqueueError, lane_index};
use crate::lifecycle::{Lifecycle, RunError, Shutdown};

const GRACE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    key: u64,
    number: usize,
    bytes: usize,
}

impl BatchItem for Item {
    fn lane_key(&self) -> u64 {
        self.key
    }

    fn weight_bytes(&self) -> usize {
        self.bytes
    }
}

fn item(number: usize) -> Item {
    Item {
        key: 1,
        number,
        bytes: 1,
    }
}

fn count(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn one_lane() -> BatcherOptions {
    BatcherOptions {
        lanes: count(1),
        ..BatcherOptions::default()
    }
}

type Batches = Arc<Mutex<Vec<Vec<Item>>>>;

/// A batcher that answers each item with its number and notes its formed.
fn recorder(lifecycle: &Lifecycle, options: BatcherOptions) -> (Batcher<Item, usize>, Batches) {
    let formed = Batches::default();
    let noted = Arc::clone(&formed);
    let batcher = Batcher::start(lifecycle, "recorder", options, move |items: Vec<Item>| {
        let replies = items.iter().map(|item| item.number).collect();
        noted.lock().push(items);
        async move {
            tokio::task::yield_now().await;
            replies
        }
    });
    (batcher, formed)
}

/// A batcher whose handler waits for a permit before it answers.
fn gated(
    lifecycle: &Lifecycle,
    options: BatcherOptions,
) -> (
    Batcher<Item, usize>,
    Arc<Semaphore>,
    mpsc::Receiver<Vec<usize>>,
) {
    let gate = Arc::new(Semaphore::new(0));
    let (started, formed) = mpsc::channel(100);
    let inner = Arc::clone(&gate);
    let batcher = Batcher::start(lifecycle, "gated", options, move |items: Vec<Item>| {
        let (gate, started) = (Arc::clone(&inner), started.clone());
        async move {
            let numbers: Vec<usize> = items.iter().map(|item| item.number).collect();
            started
                .send(numbers.clone())
                .await
                .expect("the test listens");
            gate.acquire().await.expect("never closed").forget();
            numbers
        }
    });
    (batcher, gate, formed)
}

#[tokio::test]
async fn natural_batches_hold_what_queued_while_the_previous_one_ran() {
    let lifecycle = Lifecycle::new();
    let (batcher, gate, mut formed) = gated(&lifecycle, one_lane());
    let mut replies = vec![batcher.enqueue(item(0)).await.unwrap()];
    assert_eq!(
        formed.recv().await.unwrap(),
        [0],
        "an idle lane does not wait"
    );
    for number in 1..=5 {
        replies.push(batcher.enqueue(item(number)).await.unwrap());
    }
    gate.add_permits(2);
    assert_eq!(formed.recv().await.unwrap(), [1, 2, 3, 4, 5]);
    for (number, reply) in replies.into_iter().enumerate() {
        assert_eq!(reply.await, Ok(number));
    }
}

#[tokio::test]
async fn full_lane_says_so_or_makes_the_submitter_wait() {
    let lifecycle = Lifecycle::new();
    let options = BatcherOptions {
        queue_items: count(2),
        ..one_lane()
    };
    let (batcher, gate, mut formed) = gated(&lifecycle, options);
    let first = batcher.enqueue(item(0)).await.unwrap();
    formed.recv().await.unwrap();
    let waiting = [
        batcher.try_enqueue(item(1)).unwrap(),
        batcher.try_enqueue(item(2)).unwrap(),
    ];
    let refused = batcher.try_enqueue(item(3)).unwrap_err();
    assert_eq!(refused, TryEnqueueError::Full(item(3)));
    let fourth = batcher.submit(item(4));
    tokio::pin!(fourth);
    tokio::select! {
        biased;
        _ = &mut fourth => panic!("there is no room"),
        () = std::future::ready(()) => {}
    }
    gate.add_permits(3);
    assert_eq!(fourth.await, Ok(4));
    assert_eq!(first.await, Ok(0));
    for reply in waiting {
        reply.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn delay_gathers_company_and_ends_with_the_count() {
    let lifecycle = Lifecycle::new();
    let max_delay = Duration::from_millis(50);
    let options = BatcherOptions {
        max_delay,
        max_items: count(3),
        ..one_lane()
    };
    let (batcher, formed) = recorder(&lifecycle, options);
    let start = tokio::time::Instant::now();
    let late = async {
        tokio::time::sleep(Duration::from_millis(40)).await;
        batcher.submit(item(2)).await.unwrap();
    };
    let (first, ()) = tokio::join!(batcher.submit(item(1)), late);
    first.unwrap();
    assert_eq!(start.elapsed(), max_delay);
    batcher.submit_all(vec![item(3), item(4), item(5)]).await;
    assert_eq!(start.elapsed(), max_delay, "a full batch does not wait");
    let sizes: Vec<usize> = formed.lock().iter().map(Vec::len).collect();
    assert_eq!(sizes, [2, 3]);
}

#[tokio::test]
async fn drain_handles_what_was_accepted_and_refuses_the_rest() {
    let lifecycle = Lifecycle::new();
    let (batcher, gate, mut formed) = gated(&lifecycle, one_lane());
    let mut replies = vec![batcher.enqueue(item(0)).await.unwrap()];
    formed.recv().await.unwrap();
    replies.push(batcher.enqueue(item(1)).await.unwrap());
    let rest = async {
        lifecycle.draining().await;
        gate.add_permits(10);
        for (number, reply) in replies.into_iter().enumerate() {
            assert_eq!(reply.await, Ok(number));
        }
    };
    let (outcome, ()) = tokio::join!(lifecycle.shutdown(GRACE), rest);
    assert_eq!(outcome, Shutdown::Drained);
    assert_eq!(batcher.submit(item(2)).await, Err(SubmitError::Closed));
    assert_eq!(
        batcher.try_enqueue(item(3)).unwrap_err(),
        TryEnqueueError::Closed(item(3))
    );
    assert_eq!(
        batcher.submit_all(vec![item(4), item(5)]).await,
        [Err(SubmitError::Closed), Err(SubmitError::Closed)]
    );
}

#[tokio::test]
async fn missing_replies_are_lost_and_the_lane_lives_on() {
    let lifecycle = Lifecycle::new();
    let batcher = Batcher::start(
        &lifecycle,
        "forgetful",
        one_lane(),
        |items: Vec<Item>| async {
            items
                .into_iter()
                .map(|item| item.number)
                .filter(|number| *number != 0)
                .collect()
        },
    );
    assert_eq!(batcher.submit(item(0)).await, Err(SubmitError::Lost));
    assert_eq!(batcher.submit(item(7)).await, Ok(7));
}

#[tokio::test]
async fn panic_of_the_handler_loses_the_replies_and_stops_the_process() {
    async fn fail(items: Vec<Item>) -> Vec<usize> {
        panic!("cannot handle {} items", items.len());
    }
    let lifecycle = Lifecycle::new();
    let batcher = Batcher::start(&lifecycle, "fragile", one_lane(), fail);
    assert_eq!(batcher.submit(item(0)).await, Err(SubmitError::Lost));
    let error = lifecycle.run_until_stopped(GRACE).await.unwrap_err();
    assert!(matches!(error, RunError::Task(failure) if failure.task == "fragile"));
}

#[tokio::test]
async fn one_busy_lane_does_not_hold_up_another() {
    let lifecycle = Lifecycle::new();
    let options = BatcherOptions {
        lanes: count(2),
        ..BatcherOptions::default()
    };
    let (slow, fast) = (
        0,
        (1..100)
            .find(|key| lane_index(*key, 2) != lane_index(0, 2))
            .unwrap(),
    );
    let batcher = Batcher::start(
        &lifecycle,
        "two",
        options,
        move |items: Vec<Item>| async move {
            if items[0].key == slow {
                std::future::pending::<()>().await;
            }
            items
                .into_iter()
                .map(|item| item.number)
                .collect::<Vec<usize>>()
        },
    );
    let stuck = batcher
        .enqueue(Item {
            key: slow,
            number: 1,
            bytes: 1,
        })
        .await
        .unwrap();
    assert_eq!(
        batcher
            .submit(Item {
                key: fast,
                number: 2,
                bytes: 1
            })
            .await,
        Ok(2)
    );
    drop(stuck);
}

#[test]
fn regular_keys_spread_evenly_over_lanes() {
    for step in [1, 2, 64, 1_000, 1 << 32] {
        let mut counts = [0_u32; 7];
        for key in 0..7_000 {
            counts[lane_index(key * step, 7)] += 1;
        }
        assert!(
            counts.iter().all(|count| (850..1_150).contains(count)),
            "{step}: {counts:?}"
        );
    }
}

prop_compose! {
    fn any_options()(
        lanes in 1_usize..5,
        max_items in 1_usize..12,
        max_bytes in 1_usize..60,
        max_delay in 0_u64..3,
        queue_items in 1_usize..20,
    ) -> BatcherOptions {
        BatcherOptions {
            lanes: count(lanes),
            max_items: count(max_items),
            max_bytes: count(max_bytes),
            max_delay: Duration::from_millis(max_delay),
            queue_items: count(queue_items),
        }
    }
}

/// Submits `items` from two tasks at once, split by key so that the order of each key is defined.
async fn submit_concurrently(
    batcher: &Batcher<Item, usize>,
    items: Vec<Item>,
) -> Vec<(usize, Result<usize, SubmitError>)> {
    let (even, odd): (Vec<Item>, Vec<Item>) = items
        .into_iter()
        .partition(|item| item.key.is_multiple_of(2));
    let submit = async |items: Vec<Item>| {
        let numbers: Vec<usize> = items.iter().map(|item| item.number).collect();
        numbers
            .into_iter()
            .zip(batcher.submit_all(items).await)
            .collect::<Vec<_>>()
    };
    let (mut even, odd) = tokio::join!(submit(even), submit(odd));
    even.extend(odd);
    even
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_item_is_handled_once_in_its_keys_order_within_the_limits(
        options in any_options(),
        shapes in prop::collection::vec((0_u64..6, 0_usize..80), 0..150),
    ) {
        let items: Vec<Item> = shapes
            .into_iter()
            .enumerate()
            .map(|(number, (key, bytes))| Item { key, number, bytes })
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let (results, formed) = runtime.block_on(async {
            let lifecycle = Lifecycle::new();
            let (batcher, formed) = recorder(&lifecycle, options);
            let results = submit_concurrently(&batcher, items.clone()).await;
            prop_assert_eq!(lifecycle.shutdown(GRACE).await, Shutdown::Drained);
            let formed = formed.lock().clone();
            Ok((results, formed))
        })?;

        prop_assert_eq!(results.len(), items.len());
        for (number, result) in results {
            prop_assert_eq!(result, Ok(number), "each submitter gets its own reply");
        }
        for batch in &formed {
            prop_assert!(!batch.is_empty() && batch.len() <= options.max_items.get());
            let bytes: usize = batch.iter().map(|item| item.bytes).sum();
            prop_assert!(bytes <= options.max_bytes.get() || batch.len() == 1);
            let lane = |item: &Item| lane_index(item.key, options.lanes.get());
            prop_assert!(batch.iter().all(|item| lane(item) == lane(&batch[0])));
        }
        let by_key = |items: Vec<Item>| {
            let mut numbers: HashMap<u64, Vec<usize>> = HashMap::new();
            for item in items {
                numbers.entry(item.key).or_default().push(item.number);
            }
            numbers
        };
        prop_assert_eq!(by_key(formed.concat()), by_key(items));
    }
}

#[tokio::test]
async fn a_later_call_does_not_overtake_one_that_waits_for_room_in_another_lane() {
    let lifecycle = Lifecycle::new();
    let options = BatcherOptions {
        lanes: count(2),
        max_items: count(1),
        queue_items: count(1),
        ..BatcherOptions::default()
    };
    let (batcher, gate, mut formed) = gated(&lifecycle, options);
    let key_of = |lane| (0..100).find(|key| lane_index(*key, 2) == lane).unwrap();
    let of = |lane, number| Item {
        key: key_of(lane),
        number,
        bytes: 1,
    };
    // The first lane has one item in work and one in its queue, which is its bound.
    let in_work = batcher.enqueue(of(0, 0)).await.unwrap();
    assert_eq!(formed.recv().await.unwrap(), [0]);
    let queued = batcher.enqueue(of(0, 1)).await.unwrap();
    let first = batcher.submit_all(vec![of(0, 2), of(1, 3)]);
    let second = batcher.submit_all(vec![of(1, 4)]);
    let release = async {
        assert_eq!(formed.recv().await.unwrap(), [3], "calls keep their order");
        gate.add_permits(100);
        while formed.recv().await.unwrap() != [2] {}
    };
    let (first, second, ()) = tokio::join!(first, second, release);
    assert_eq!(first, [Ok(2), Ok(3)]);
    assert_eq!(second, [Ok(4)]);
    assert_eq!((in_work.await, queued.await), (Ok(0), Ok(1)));
}
