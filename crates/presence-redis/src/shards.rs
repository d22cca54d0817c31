//! Commands to the masters: routed by slot, sent as few pipelines, within a deadline.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use downlink_ports::StoreError;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::RwLock;
use redis::{Cmd, Pipeline, ServerError, ServerErrorKind, Value};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::address::Address;
use crate::error::{LinkError, unavailable};
use crate::link::{Link, is_demoted};
use crate::map::Map;
use crate::scripts::Scripts;

/// Commands in one pipeline.
pub(crate) const PIPELINE: usize = 1000;
/// Times that a command is sent which was turned away without effect.
const MAX_TRIES: u32 = 5;
/// How long a command waits that is turned away because its slot is on the move.
const SLOT_MOVES: Duration = Duration::from_millis(20);

/// A command on one slot.
pub(crate) struct Command {
    pub(crate) slot: u16,
    pub(crate) words: Cmd,
    /// How many keys it reads or writes, of those that may be on their way.
    weight: usize,
    /// Where the slot is moving to, if that is where the command must go.
    asking: Option<Address>,
}

impl Command {
    pub(crate) fn new(slot: u16, words: Cmd) -> Self {
        Self {
            slot,
            words,
            weight: 1,
            asking: None,
        }
    }

    /// A command on many keys of one server.
    pub(crate) fn of_many(words: Cmd, keys: usize) -> Self {
        Self {
            weight: keys,
            ..Self::new(0, words)
        }
    }
}

/// The masters, as the last survey found them.
pub(crate) struct Shards {
    map: RwLock<Arc<Map>>,
    /// Counts surveys.
    surveys: watch::Sender<u64>,
    pub(crate) nudge: Arc<Notify>,
    /// One for each key that may be on its way.
    permits: Semaphore,
    max_in_flight: usize,
    call_timeout: Duration,
    scripts: Arc<Scripts>,
}

/// Commands for one connection, and which they are of the whole.
struct Batch {
    link: Arc<Link>,
    is_asking: bool,
    pipeline: Pipeline,
    places: Vec<(usize, u16)>,
    weight: usize,
}

/// What a batch led to.
struct Sent {
    batch: Batch,
    values: Vec<Value>,
}

/// A command that was turned away without effect, to be sent again.
struct Again {
    place: usize,
    command: Command,
}

/// What must come before turned-away commands are sent again.
#[derive(Default)]
struct Before {
    survey: bool,
    pause: bool,
    load: Vec<Arc<Link>>,
}

impl Shards {
    pub(crate) fn new(
        nudge: Arc<Notify>,
        scripts: Arc<Scripts>,
        max_in_flight: usize,
        call_timeout: Duration,
    ) -> Self {
        Self {
            map: RwLock::default(),
            surveys: watch::Sender::new(0),
            nudge,
            permits: Semaphore::new(max_in_flight),
            max_in_flight,
            call_timeout,
            scripts,
        }
    }

    pub(crate) fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.read())
    }

    pub(crate) fn call_timeout(&self) -> Duration {
        self.call_timeout
    }

    /// Notes what a survey found; `None` when it failed.
    pub(crate) fn surveyed(&self, map: Option<Map>) {
        if let Some(map) = map {
            *self.map.write() = Arc::new(map);
        }
        self.surveys.send_modify(|count| *count += 1);
    }

    /// Carries out commands, each on its slot; answers by position.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when any of them failed or could not be sent; others may have
    /// been carried out. [`StoreError::Overloaded`] when too many calls are on their way.
    pub(crate) async fn run(&self, commands: Vec<Command>) -> Result<Vec<Value>, StoreError> {
        let deadline = Instant::now() + self.call_timeout;
        let mut answers = vec![Value::Nil; commands.len()];
        let mut left: Vec<Again> = commands
            .into_iter()
            .enumerate()
            .map(|(place, command)| Again { place, command })
            .collect();
        for _ in 0..MAX_TRIES {
            // Before the commands go out, so that a survey they call for is not missed.
            let mut surveys = self.surveys.subscribe();
            let batches = self.batches(left)?;
            let mut sent: FuturesUnordered<_> = batches
                .into_iter()
                .map(|batch| self.send(batch, deadline))
                .collect();
            left = Vec::new();
            let mut before = Before::default();
            while let Some(outcome) = sent.next().await {
                settle(outcome?, &mut answers, &mut left, &mut before)?;
            }
            if left.is_empty() {
                return Ok(answers);
            }
            self.prepare(before, &mut surveys, deadline).await?;
        }
        Err(unavailable(&"the slots of the cluster do not come to rest"))
    }

    /// Sorts commands by connection, so many to a pipeline.
    fn batches(&self, commands: Vec<Again>) -> Result<Vec<Batch>, StoreError> {
        let map = self.map();
        let mut open: HashMap<(u64, bool), Batch> = HashMap::new();
        let mut full = Vec::new();
        for Again { place, command } in commands {
            let asked = command.asking.as_ref().and_then(|at| map.link_to(at));
            let is_asking = asked.is_some();
            let Some(link) = asked.or_else(|| map.link(command.slot)) else {
                self.nudge.notify_one();
                return Err(unavailable(&"a server is not connected"));
            };
            let batch = open.entry((link.id, is_asking)).or_insert_with(|| Batch {
                link: Arc::clone(link),
                is_asking,
                pipeline: Pipeline::new(),
                places: Vec::new(),
                weight: 0,
            });
            if is_asking {
                batch.pipeline.cmd("ASKING");
            }
            batch.pipeline.add_command(command.words);
            batch.places.push((place, command.slot));
            batch.weight += command.weight;
            if batch.places.len() == PIPELINE
                && let Some(batch) = open.remove(&(link.id, is_asking))
            {
                full.push(batch);
            }
        }
        full.extend(open.into_values());
        Ok(full)
    }

    async fn send(&self, batch: Batch, deadline: Instant) -> Result<Sent, StoreError> {
        let weight = batch.weight.min(self.max_in_flight);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let permits = timeout_at(deadline, self.permits.acquire_many(weight));
        let Ok(Ok(_permits)) = permits.await else {
            return Err(StoreError::Overloaded);
        };
        let values = batch.link.send(&batch.pipeline, deadline).await?;
        Ok(Sent { batch, values })
    }

    async fn prepare(
        &self,
        before: Before,
        surveys: &mut watch::Receiver<u64>,
        deadline: Instant,
    ) -> Result<(), StoreError> {
        for link in before.load {
            link.load(&self.scripts, deadline).await?;
        }
        if before.survey {
            self.nudge.notify_one();
            let surveyed = timeout_at(deadline, surveys.changed()).await;
            if !matches!(surveyed, Ok(Ok(()))) {
                return Err(unavailable(&"the masters are not known"));
            }
        }
        if before.pause && timeout_at(deadline, sleep(SLOT_MOVES)).await.is_err() {
            return Err(unavailable(&"a slot of the cluster is on the move"));
        }
        Ok(())
    }
}

/// Puts answers in their places; notes which commands must be sent again.
fn settle(
    sent: Sent,
    answers: &mut [Value],
    left: &mut Vec<Again>,
    before: &mut Before,
) -> Result<(), StoreError> {
    let Sent { batch, values } = sent;
    let step = if batch.is_asking { 2 } else { 1 };
    let mut values = values.into_iter().skip(step - 1).step_by(step);
    for (index, (place, slot)) in batch.places.iter().enumerate() {
        let answer = values.next().unwrap_or_default();
        let Value::ServerError(error) = answer else {
            answers[*place] = answer;
            continue;
        };
        let asking = turned_away(error, &batch.link, before)?;
        let words = batch.pipeline.cmd_iter().nth(index * step + step - 1);
        let words = words.cloned().unwrap_or_default();
        left.push(Again {
            place: *place,
            command: Command {
                slot: *slot,
                words,
                weight: 1,
                asking,
            },
        });
    }
    Ok(())
}

/// What must come before the command is sent again, and where it is to go if not to the master of
/// its slot.
fn turned_away(
    error: ServerError,
    link: &Arc<Link>,
    before: &mut Before,
) -> Result<Option<Address>, StoreError> {
    match error.kind() {
        Some(ServerErrorKind::NoScript) => {
            if !before.load.iter().any(|known| known.id == link.id) {
                before.load.push(Arc::clone(link));
            }
            Ok(None)
        }
        Some(ServerErrorKind::Moved) => {
            before.survey = true;
            Ok(None)
        }
        Some(ServerErrorKind::Ask) => {
            before.pause = true;
            let target = error.details().and_then(|text| text.split(' ').nth(1));
            Ok(target.and_then(Address::parse))
        }
        Some(ServerErrorKind::TryAgain) => {
            before.pause = true;
            Ok(None)
        }
        kind => {
            if is_demoted(kind) {
                link.give_up();
            }
            Err(LinkError::Refused {
                at: link.at.clone(),
                error: error.into(),
            }
            .into())
        }
    }
}
