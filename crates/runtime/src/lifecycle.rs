//! Tasks, and how they end: every task of a process is spawned here, drained here and, at worst, cut off here.
//!
//! Stopping has two steps. *Drain*: take no new work, finish what is held. *Halt*: drop everything.
//! A [`Lifecycle`] is a scope of tasks; scopes nest, and the newest child drains first, so that a part started
//! later (a gateway) finishes while the parts it calls (a queue) still answer.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use self::registry::{Entry, Registry, Wait};
pub use self::signals::Signals;
use self::supervised::Supervised;
pub use self::supervised::{TaskError, TaskOutcome};

mod registry;
mod signals;
mod supervised;
#[cfg(test)]
mod tests;

/// How long aborted tasks may take to let go before shutdown returns without them.
const HALT_ALLOWANCE: Duration = Duration::from_secs(2);

/// What the failure (error or panic) of a task means for the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The process cannot do its work without this task: log the error and stop the process.
    Shutdown,
    /// The failure concerns this task alone: log it.
    Log,
}

/// The way a scope ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Every task finished by itself within the grace period.
    Drained,
    /// The grace period ended, or a second signal came, with tasks still running; they were dropped.
    Halted {
        /// The names of the tasks that were cut off, with how many of each.
        unfinished: BTreeMap<&'static str, usize>,
    },
}

/// The failure of a task whose policy is [`OnError::Shutdown`].
#[derive(Debug, thiserror::Error)]
#[error("task {task} failed")]
pub struct TaskFailure {
    /// The name the task was spawned with.
    pub task: &'static str,
    /// What the task ended with.
    pub source: TaskError,
}

/// Why [`Lifecycle::run_until_stopped`] did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The handlers for SIGINT and SIGTERM could not be installed.
    #[error("cannot listen for stop signals")]
    Signals(#[source] std::io::Error),
    /// A task the process depends on failed.
    #[error(transparent)]
    Task(#[from] TaskFailure),
}

/// A scope of tasks with its *drain* and *halt* tokens; clones are the same scope.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    scope: Arc<Scope>,
}

/// What all scopes of one process share.
#[derive(Debug, Default)]
struct Process {
    stop: CancellationToken,
    ready: AtomicBool,
    failure: Mutex<Option<TaskFailure>>,
}

#[derive(Debug)]
struct Scope {
    name: &'static str,
    process: Arc<Process>,
    is_root: bool,
    drain: CancellationToken,
    halt: CancellationToken,
    foreground: TaskTracker,
    background: TaskTracker,
    running: Registry,
    /// Oldest first. Weak, because a scope without tasks and without handles needs no draining.
    children: Mutex<Vec<Weak<Scope>>>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    /// Makes the root scope of a process: not ready, nothing running.
    pub fn new() -> Self {
        let process = Arc::default();
        Self {
            scope: Arc::new(Scope::new(
                "process",
                process,
                true,
                CancellationToken::new(),
            )),
        }
    }

    /// Makes a scope inside this one. It drains before this scope's own tasks and before older children.
    ///
    /// Halting this scope halts the child too. Start a part after the parts it calls.
    #[must_use]
    pub fn child(&self, name: &'static str) -> Self {
        let halt = self.scope.halt.child_token();
        let scope = Arc::new(Scope::new(
            name,
            Arc::clone(&self.scope.process),
            false,
            halt,
        ));
        let mut children = self.scope.children.lock();
        children.retain(|child| child.strong_count() > 0);
        children.push(Arc::downgrade(&scope));
        drop(children);
        Self { scope }
    }

    /// Spawns a task that draining waits for.
    ///
    /// The task should end by itself when the drain token is cancelled; at halt it is dropped at its next
    /// `await`. A task spawned after the halt is dropped without having run.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn<F>(&self, name: &'static str, on_error: OnError, future: F)
    where
        F: Future + Send + 'static,
        F::Output: TaskOutcome + Send + 'static,
    {
        self.start(Wait::Foreground, name, on_error, future);
    }

    /// Spawns a task that serves others until the very end: draining does not wait for it, halting drops it.
    ///
    /// For what must answer while everything else drains: probes, metrics, the servers of inner calls.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn_background<F>(&self, name: &'static str, on_error: OnError, future: F)
    where
        F: Future + Send + 'static,
        F::Output: TaskOutcome + Send + 'static,
    {
        self.start(Wait::Background, name, on_error, future);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that spawns: the task is tracked, supervised and abortable"
    )]
    fn start<F>(&self, wait: Wait, name: &'static str, on_error: OnError, future: F)
    where
        F: Future + Send + 'static,
        F::Output: TaskOutcome + Send + 'static,
    {
        if self.scope.halt.is_cancelled() {
            return;
        }
        let id = self.scope.running.enter(name, wait);
        let entry = Entry::new(Arc::clone(&self.scope), id, name, on_error);
        let tracker = match wait {
            Wait::Foreground => &self.scope.foreground,
            Wait::Background => &self.scope.background,
        };
        let task = tokio::spawn(tracker.track_future(Supervised::new(future, entry)));
        self.scope.running.attach(id, task.abort_handle());
        // A halt between the check above and `attach` found no handle to abort.
        if self.scope.halt.is_cancelled() {
            task.abort();
        }
    }

    /// Returns the token that is cancelled when this scope must take no new work.
    pub fn drain_token(&self) -> CancellationToken {
        self.scope.drain.clone()
    }

    /// Returns the token that is cancelled when this scope's tasks are dropped.
    pub fn halt_token(&self) -> CancellationToken {
        self.scope.halt.clone()
    }

    /// Waits until this scope must take no new work.
    ///
    /// # Cancellation
    /// Safe: it only waits.
    pub async fn draining(&self) {
        self.scope.drain.cancelled().await;
    }

    /// Tells whether this scope must take no new work.
    pub fn is_draining(&self) -> bool {
        self.scope.drain.is_cancelled()
    }

    /// Asks the process to stop, as a signal would; returns at once.
    ///
    /// Readiness falls now; the scopes drain in their order once [`Self::run_until_stopped`] sees it.
    pub fn stop(&self) {
        self.scope.process.stop.cancel();
    }

    /// States whether the process can do its work; `false` until told otherwise.
    pub fn set_ready(&self, is_ready: bool) {
        self.scope.process.ready.store(is_ready, Ordering::Release);
    }

    /// Tells whether new work should be sent here: it was declared ready and is not about to stop.
    ///
    /// Liveness is another question: a draining process is alive.
    pub fn is_ready(&self) -> bool {
        self.scope.process.ready.load(Ordering::Acquire) && !self.scope.process.stop.is_cancelled()
    }

    /// Runs until SIGINT, SIGTERM, [`Self::stop`] or the failure of a task the process depends on, then drains.
    ///
    /// A second signal, or the end of `grace`, halts.
    ///
    /// # Errors
    /// [`RunError::Task`] with the first failure that stopped the process; everything was shut down all the same.
    /// [`RunError::Signals`] if the operating system refuses the signal handlers; nothing was shut down.
    pub async fn run_until_stopped(&self, grace: Duration) -> Result<Shutdown, RunError> {
        let signals = Signals::install().map_err(RunError::Signals)?;
        self.run_until_signal(signals, grace).await
    }

    /// Does what [`Self::run_until_stopped`] does, for a process that says it is ready before it gets here: a signal
    /// between the two must already count.
    ///
    /// # Errors
    /// [`RunError::Task`], as there.
    pub async fn run_until_signal(
        &self,
        mut signals: Signals,
        grace: Duration,
    ) -> Result<Shutdown, RunError> {
        tokio::select! {
            name = signals.next() => info!(signal = name, "stopping on signal"),
            () = self.scope.process.stop.cancelled() => info!("stopping"),
        }
        let shutdown = self.shutdown(grace);
        tokio::pin!(shutdown);
        let outcome = loop {
            tokio::select! {
                outcome = &mut shutdown => break outcome,
                name = signals.next() => {
                    warn!(signal = name, "halting on second signal");
                    self.scope.halt.cancel();
                }
            }
        };
        match self.scope.process.failure.lock().take() {
            Some(failure) => Err(failure.into()),
            None => Ok(outcome),
        }
    }

    /// Drains this scope, children first (newest first), and halts what is left when `grace` has passed.
    ///
    /// Returns when all tasks have ended, or two seconds after the halt if one of them blocks its thread.
    pub async fn shutdown(&self, grace: Duration) -> Shutdown {
        if self.scope.is_root {
            self.stop();
        }
        let deadline = Instant::now() + grace;
        for scope in self.scope.in_drain_order() {
            scope.drain(deadline, &self.scope.halt).await;
        }
        let scopes = self.scope.in_drain_order();
        let mut unfinished = BTreeMap::new();
        for scope in &scopes {
            scope.running.count_into(&mut unfinished);
        }
        self.scope.halt.cancel();
        for scope in &scopes {
            scope.running.abort_all();
        }
        let deadline = Instant::now() + HALT_ALLOWANCE;
        for scope in &scopes {
            scope.ended(deadline).await;
        }
        if unfinished.is_empty() {
            return Shutdown::Drained;
        }
        warn!(tasks = ?unfinished, "tasks were cut off");
        Shutdown::Halted { unfinished }
    }
}

impl Scope {
    fn new(
        name: &'static str,
        process: Arc<Process>,
        is_root: bool,
        halt: CancellationToken,
    ) -> Self {
        Self {
            name,
            process,
            is_root,
            drain: CancellationToken::new(),
            halt,
            foreground: TaskTracker::new(),
            background: TaskTracker::new(),
            running: Registry::default(),
            children: Mutex::default(),
        }
    }

    /// Lists this scope and all below it: newest child first, parents after their children.
    fn in_drain_order(self: &Arc<Self>) -> Vec<Arc<Self>> {
        let children: Vec<_> = self
            .children
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        let mut order = Vec::with_capacity(children.len() + 1);
        for child in children.iter().rev() {
            order.extend(child.in_drain_order());
        }
        order.push(Arc::clone(self));
        order
    }

    async fn drain(&self, deadline: Instant, halt: &CancellationToken) {
        self.drain.cancel();
        self.foreground.close();
        tokio::select! {
            () = self.foreground.wait() => {}
            () = tokio::time::sleep_until(deadline) => {
                warn!(scope = self.name, "drain did not finish within the grace period");
            }
            () = halt.cancelled() => {}
        }
    }

    async fn ended(&self, deadline: Instant) {
        self.foreground.close();
        self.background.close();
        let both = async {
            self.foreground.wait().await;
            self.background.wait().await;
        };
        if tokio::time::timeout_at(deadline, both).await.is_err() {
            warn!(
                scope = self.name,
                "a task blocks its thread and could not be dropped"
            );
        }
    }

    /// Takes note of a failed task, by its policy.
    fn on_task_failure(&self, name: &'static str, on_error: OnError, source: TaskError) {
        match on_error {
            OnError::Log => {
                warn!(task = name, scope = self.name, error = %ErrorChain(&*source), "task failed");
            }
            OnError::Shutdown => {
                tracing::error!(
                    task = name,
                    scope = self.name,
                    error = %ErrorChain(&*source),
                    "task failed, stopping the process"
                );
                self.process
                    .failure
                    .lock()
                    .get_or_insert(TaskFailure { task: name, source });
                self.process.stop.cancel();
            }
        }
    }
}

/// Prints an error and its sources on one line.
struct ErrorChain<'a>(&'a (dyn std::error::Error + 'static));

impl std::fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
