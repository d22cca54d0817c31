//! Work on a connection, and when it is done again.
//!
//! What may be repeated follows from what is known about the failed attempt:
//!
//! | the attempt failed | what is known | then |
//! |---|---|---|
//! | no connection was to be had | nothing was sent | the call fails at once: it has waited already |
//! | deadlock, serialization failure | the server undid it | again, whatever the work |
//! | the connection went before COMMIT was sent | the server undoes it | again, whatever the work |
//! | the connection went with a statement that commits by itself, or with COMMIT | nobody knows | again only if the work is [`Repeat::Harmless`] |
//! | the server said nothing as long as an answer may take | nobody knows | the call fails: it has waited already |
//! | anything else | the server undid it, and would again | the call fails |

use std::hash::BuildHasher;
use std::time::Duration;

use async_trait::async_trait;
use downlink_ports::StoreError;
use tracing::debug;

use crate::error::{Failure, Verdict, verdict};
use crate::options::Pooler;
use crate::session::Session;
use crate::store::PostgresStore;

/// Attempts of one piece of work.
const ATTEMPTS: u32 = 6;
/// Longest pause before the second attempt; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// How much of a transaction a piece of work needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// One statement, which commits by itself where no pooler stands between.
    Statement,
    /// Several statements that hold together.
    Transaction,
}

/// Whether work whose outcome is unknown may be done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It changes nothing, or nothing that its first time has not changed, and answers the same.
    Harmless,
    /// It would happen twice, or answer differently the second time.
    Harmful,
}

/// What is done on one connection; it may be done several times.
#[async_trait]
pub(crate) trait Work: Sync {
    /// What comes of it.
    type Answer: Send;
    /// How much of a transaction it needs.
    const EXTENT: Extent;
    /// Whether it may be done again when nobody knows whether it was done.
    const REPEAT: Repeat;

    /// Does it. An error undoes everything.
    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure>;
}

/// An attempt that failed.
struct Attempt {
    failure: Failure,
    /// Whether the failure leaves no doubt that nothing was done, and trying again has sense.
    is_undone: bool,
    is_lost: bool,
}

impl PostgresStore {
    /// Does a piece of work, again where that is safe.
    pub(crate) async fn run<W: Work>(&self, work: &W) -> Result<W::Answer, StoreError> {
        let mut attempt = 1;
        loop {
            let failed = match self.attempt(work).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let is_repeatable =
                failed.is_undone || (failed.is_lost && W::REPEAT == Repeat::Harmless);
            if !is_repeatable || attempt == ATTEMPTS {
                return Err(failed.failure.into());
            }
            debug!(attempt, failure = ?failed.failure, "work is done again");
            tokio::time::sleep(pause(attempt)).await;
            attempt += 1;
        }
    }

    async fn attempt<W: Work>(&self, work: &W) -> Result<W::Answer, Attempt> {
        let mut lease = self.acquire().await.map_err(Attempt::refused)?;
        if W::EXTENT == Extent::Statement && self.terms.pooler == Pooler::None {
            let mut session = Session::of(lease.connection(), self.terms);
            return work
                .run(&mut session)
                .await
                .map_err(|failure| Attempt::of(failure, false));
        }
        let mut open = self
            .terms
            .in_time(lease.begin())
            .await
            .map_err(|error| Attempt::of(error.into(), true))?;
        let done = work.run(&mut Session::of(&mut open, self.terms)).await;
        match done {
            Ok(answer) => match self.terms.in_time(open.commit()).await {
                Ok(()) => Ok(answer),
                Err(error) => Err(Attempt::of(error.into(), false)),
            },
            // The transaction is rolled back when it is dropped.
            Err(failure) => Err(Attempt::of(failure, true)),
        }
    }
}

impl Attempt {
    /// One that did not begin.
    fn refused(error: StoreError) -> Self {
        Self {
            failure: Failure::Store(error),
            is_undone: false,
            is_lost: false,
        }
    }

    /// Judges a failure; `is_open` tells that a transaction was open whose COMMIT was not sent.
    fn of(failure: Failure, is_open: bool) -> Self {
        let verdict = match &failure {
            Failure::Sql(error) => verdict(error),
            Failure::Store(_) => Verdict::Refused,
        };
        Self {
            failure,
            is_undone: verdict == Verdict::RolledBack || (verdict == Verdict::Lost && is_open),
            is_lost: verdict == Verdict::Lost,
        }
    }
}

/// A pause before the attempt after `attempt`, somewhere in the upper half of its longest, so that
/// those who met do not meet again.
fn pause(attempt: u32) -> Duration {
    let longest = FIRST_PAUSE * 2_u32.pow(attempt.saturating_sub(1).min(6));
    // A fresh state is seeded by chance.
    let chance = std::hash::RandomState::new().hash_one(attempt) % 1_000;
    let chance = u32::try_from(chance).unwrap_or(0);
    longest / 2 + longest / 2 * chance / 1_000
}
