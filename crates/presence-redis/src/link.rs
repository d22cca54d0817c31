//! One connection to one master.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, PushKind, RedisError, ServerErrorKind, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::address::Address;
use crate::dial::Dialer;
use crate::error::LinkError;
use crate::scripts::Scripts;

/// The oldest server that can do what is asked: sharded channels came with it.
const OLDEST_MAJOR: u64 = 7;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A connection that was a master's when it was made. Once broken it stays so, and another takes
/// its place.
pub(crate) struct Link {
    /// Tells this connection from every other of this process.
    pub(crate) id: u64,
    pub(crate) at: Address,
    connection: MultiplexedConnection,
    is_broken: Arc<AtomicBool>,
    /// Told when the link breaks.
    nudge: Arc<Notify>,
    /// A server that is silent for as long cannot be used. One that had less time for its answer,
    /// because the call waited for its turn, is not judged by that.
    patience: Duration,
}

impl Link {
    /// Connects to a master, checks that it can be used, and makes the scripts known to it.
    pub(crate) async fn open(
        dialer: &Dialer,
        at: &Address,
        scripts: &Scripts,
        nudge: &Arc<Notify>,
        within: Duration,
    ) -> Result<Self, LinkError> {
        let is_broken = Arc::new(AtomicBool::new(false));
        let connection = {
            let (is_broken, nudge) = (Arc::clone(&is_broken), Arc::clone(nudge));
            let on_push = move |push: redis::PushInfo| {
                if push.kind == PushKind::Disconnection {
                    is_broken.store(true, Ordering::Release);
                    nudge.notify_one();
                }
            };
            dialer.connect(at, on_push).await?
        };
        let link = Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            at: at.clone(),
            connection,
            is_broken,
            nudge: Arc::clone(nudge),
            patience: within / 2,
        };
        let deadline = Instant::now() + within;
        link.check_role(deadline).await?;
        link.check_server(scripts, deadline).await?;
        Ok(link)
    }

    /// Tells whether calls can be made.
    pub(crate) fn is_usable(&self) -> bool {
        !self.is_broken.load(Ordering::Acquire)
    }

    /// Gives the link up: what is on its way on it may never be answered.
    pub(crate) fn give_up(&self) {
        self.is_broken.store(true, Ordering::Release);
        self.nudge.notify_one();
    }

    /// Sends commands and returns their answers by position; one that failed is a
    /// [`Value::ServerError`].
    ///
    /// # Errors
    /// No answer by `deadline`, or the connection broke; the link is given up then, and it is not
    /// known which commands were carried out.
    pub(crate) async fn send(
        &self,
        pipeline: &Pipeline,
        deadline: Instant,
    ) -> Result<Vec<Value>, LinkError> {
        let mut connection = self.connection.clone();
        let began = Instant::now();
        let sent = connection.send_packed_commands(pipeline, 0, pipeline.len());
        match timeout_at(deadline, sent).await {
            Ok(Ok(values)) if values.len() == pipeline.len() => Ok(values),
            Ok(Ok(_)) => {
                self.give_up();
                Err(self.odd_answer("a pipeline"))
            }
            Ok(Err(error)) => {
                self.give_up();
                Err(self.refused(error))
            }
            Err(_) => {
                if began.elapsed() >= self.patience {
                    self.give_up();
                }
                Err(LinkError::TimedOut {
                    at: self.at.clone(),
                })
            }
        }
    }

    /// Makes the scripts known to the server, which may have forgotten them.
    pub(crate) async fn load(&self, scripts: &Scripts, deadline: Instant) -> Result<(), LinkError> {
        let mut pipeline = Pipeline::new();
        scripts.load_into(&mut pipeline);
        for value in self.send(&pipeline, deadline).await? {
            self.accept(value)?;
        }
        Ok(())
    }

    /// Checks that the server is a master that answers.
    pub(crate) async fn check_role(&self, deadline: Instant) -> Result<(), LinkError> {
        let mut pipeline = Pipeline::new();
        // A server that still reads its data answers PING with an error, and ROLE without.
        pipeline.cmd("PING").cmd("ROLE");
        let values = self.send(&pipeline, deadline).await?;
        let mut role = None;
        for value in values {
            role = Some(self.accept(value)?);
        }
        let role = match role {
            Some(Value::Array(parts)) => parts.into_iter().next().and_then(into_text),
            _ => None,
        };
        match role.as_deref() {
            Some("master") => Ok(()),
            Some(role) => Err(LinkError::NotMaster {
                at: self.at.clone(),
                role: role.to_owned(),
            }),
            None => Err(self.odd_answer("ROLE")),
        }
    }

    /// Checks the version, warns of settings that lose entries, makes the scripts known.
    async fn check_server(&self, scripts: &Scripts, deadline: Instant) -> Result<(), LinkError> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("INFO").arg("server").cmd("INFO").arg("memory");
        let mut told = String::new();
        for value in self.send(&pipeline, deadline).await? {
            let text = into_text(self.accept(value)?);
            told += &text.ok_or_else(|| self.odd_answer("INFO"))?;
        }
        let version = info_field(&told, "redis_version").unwrap_or_default();
        let major = version.split('.').next().and_then(|part| part.parse().ok());
        if major.is_none_or(|major: u64| major < OLDEST_MAJOR) {
            return Err(LinkError::Version {
                at: self.at.clone(),
                found: version.to_owned(),
            });
        }
        let policy = info_field(&told, "maxmemory_policy").unwrap_or("noeviction");
        if policy != "noeviction" {
            warn!(
                server = %self.at,
                policy,
                "redis may evict presence entries: set its maxmemory-policy to noeviction"
            );
        }
        self.load(scripts, deadline).await
    }

    /// Turns an error that the server answered into one.
    fn accept(&self, value: Value) -> Result<Value, LinkError> {
        value.extract_error().map_err(|error| self.refused(error))
    }

    pub(crate) fn refused(&self, error: RedisError) -> LinkError {
        LinkError::Refused {
            at: self.at.clone(),
            error,
        }
    }

    fn odd_answer(&self, what: &'static str) -> LinkError {
        LinkError::Answer {
            at: self.at.clone(),
            what,
        }
    }
}

/// Tells whether the server that answered this is no longer the one to ask.
pub(crate) fn is_demoted(kind: Option<ServerErrorKind>) -> bool {
    matches!(
        kind,
        Some(
            ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading
        )
    )
}

/// The text of an answer.
pub(crate) fn into_text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

/// A field of what INFO answers.
pub(crate) fn info_field<'a>(told: &'a str, name: &str) -> Option<&'a str> {
    told.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim_end)
}
