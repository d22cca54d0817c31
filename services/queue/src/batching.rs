//! Calls into batches and answers back to their positions.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use downlink_ports::StoreError;
use downlink_runtime::{BatchItem, Batcher, SubmitError};
use tokio::task::unconstrained;

/// What one entry of a group costs besides its payload, in bytes: a bound on how many small
/// entries share a batch.
const ENTRY_BYTES: usize = 256;

/// The entries of one call that concern one device. They enter their lane as one item, so that
/// nothing of another call comes between them.
pub(crate) struct Group<T> {
    lane_key: u64,
    weight_bytes: usize,
    pub(crate) entries: Vec<T>,
}

/// What the store answered for a group, by position.
pub(crate) type GroupAnswer<A> = Result<Vec<A>, StoreError>;

/// A batcher of groups.
pub(crate) type Lanes<T, A> = Batcher<Group<T>, GroupAnswer<A>>;

impl<T: Send + 'static> BatchItem for Group<T> {
    fn lane_key(&self) -> u64 {
        self.lane_key
    }

    fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// A lane gave none.
    Submit(SubmitError),
    /// The store failed; entries of other devices may have been stored.
    Store(StoreError),
}

/// Sends the entries of one call through `lanes` and returns the answers by position.
///
/// Entries with equal keys keep their order, also across calls whose futures are first polled in
/// that order.
///
/// # Errors
/// The first failure of any group; other groups may have been carried out.
pub(crate) async fn submit<T, K, A>(
    lanes: &Lanes<T, A>,
    entries: Vec<T>,
    key: impl Fn(&T) -> K,
    payload_bytes: impl Fn(&T) -> usize,
) -> Result<Vec<A>, CallError>
where
    T: Send + 'static,
    A: Send + 'static,
    K: Hash + Eq,
{
    let answers = submit_each(lanes, entries, key, payload_bytes).await;
    answers.into_iter().collect()
}

/// As [`submit`], but what failed over one group is told of its entries alone.
pub(crate) async fn submit_each<T, K, A>(
    lanes: &Lanes<T, A>,
    entries: Vec<T>,
    key: impl Fn(&T) -> K,
    payload_bytes: impl Fn(&T) -> usize,
) -> Vec<Result<A, CallError>>
where
    T: Send + 'static,
    A: Send + 'static,
    K: Hash + Eq,
{
    let count = entries.len();
    let mut places: HashMap<K, usize> = HashMap::with_capacity(count);
    let mut groups: Vec<Group<T>> = Vec::with_capacity(count);
    let mut positions: Vec<Vec<usize>> = Vec::with_capacity(count);
    for (position, entry) in entries.into_iter().enumerate() {
        let entry_key = key(&entry);
        let lane_key = hash(&entry_key);
        let place = *places.entry(entry_key).or_insert_with(|| {
            groups.push(Group {
                lane_key,
                weight_bytes: 0,
                entries: Vec::new(),
            });
            positions.push(Vec::new());
            groups.len() - 1
        });
        groups[place].weight_bytes += ENTRY_BYTES + payload_bytes(&entry);
        groups[place].entries.push(entry);
        positions[place].push(position);
    }
    // Unconstrained: a cooperative yield between two groups would let a later call overtake.
    let answers = unconstrained(lanes.submit_all(groups)).await;
    let lost = || Err(CallError::Submit(SubmitError::Lost));
    let mut by_position: Vec<Result<A, CallError>> = (0..count).map(|_| lost()).collect();
    for (answer, positions) in answers.into_iter().zip(positions) {
        let answer = answer
            .map_err(CallError::Submit)
            .and_then(|answer| answer.map_err(CallError::Store));
        match answer {
            Ok(answers) => {
                for (position, answer) in positions.into_iter().zip(answers) {
                    by_position[position] = Ok(answer);
                }
            }
            Err(error) => {
                for position in positions {
                    by_position[position] = Err(error.clone());
                }
            }
        }
    }
    by_position
}

/// The entries of a batch in one list, and how many belong to each group.
pub(crate) fn flatten<T>(groups: Vec<Group<T>>) -> (Vec<T>, Vec<usize>) {
    let sizes = groups.iter().map(|group| group.entries.len()).collect();
    let entries = groups.into_iter().flat_map(|group| group.entries);
    (entries.collect(), sizes)
}

/// Gives each group its part of a batch's answer.
pub(crate) fn divide<A>(
    answer: Result<Vec<A>, StoreError>,
    sizes: &[usize],
) -> Vec<GroupAnswer<A>> {
    match answer {
        Ok(answers) => {
            let mut answers = answers.into_iter();
            sizes
                .iter()
                .map(|size| Ok(answers.by_ref().take(*size).collect()))
                .collect()
        }
        Err(error) => sizes.iter().map(|_| Err(error.clone())).collect(),
    }
}

fn hash(key: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use downlink_runtime::{BatcherOptions, Lifecycle};

    use super::*;

    fn doubling(lifecycle: &Lifecycle) -> Lanes<u32, u32> {
        Batcher::start(
            lifecycle,
            "double",
            BatcherOptions::default(),
            |groups: Vec<Group<u32>>| async {
                let (entries, sizes) = flatten(groups);
                divide(Ok(entries.into_iter().map(|n| n * 2).collect()), &sizes)
            },
        )
    }

    #[tokio::test]
    async fn answers_come_back_by_position_whatever_their_group() {
        let lifecycle = Lifecycle::new();
        let lanes = doubling(&lifecycle);
        let entries: Vec<u32> = (0..1000).collect();
        let doubled = submit(&lanes, entries, |n| n % 7, |_| 0).await.unwrap();
        assert_eq!(doubled, (0..1000).map(|n| n * 2).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_failed_batch_fails_each_of_its_calls() {
        let lifecycle = Lifecycle::new();
        let failing: Lanes<u32, u32> = Batcher::start(
            &lifecycle,
            "fail",
            BatcherOptions::default(),
            |groups: Vec<Group<u32>>| async move {
                divide(Err(StoreError::Overloaded), &flatten(groups).1)
            },
        );
        let answer = submit(&failing, vec![1, 2], |n| *n, |_| 0).await;
        assert_eq!(answer, Err(CallError::Store(StoreError::Overloaded)));
    }

    #[tokio::test]
    async fn nothing_is_taken_after_the_drain() {
        let lifecycle = Lifecycle::new();
        let lanes = doubling(&lifecycle);
        lifecycle.shutdown(Duration::from_secs(5)).await;
        let answer = submit(&lanes, vec![1], |n| *n, |_| 0).await;
        assert_eq!(answer, Err(CallError::Submit(SubmitError::Closed)));
    }
}
