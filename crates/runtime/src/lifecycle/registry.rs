//! Who is running: names for diagnosis, handles for the halt.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::{OnError, Scope, TaskError};

/// Whether draining waits for a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Foreground,
    Background,
}

/// The tasks of one scope; an entry lives exactly as long as its task.
///
/// Bounded by what the tasks themselves are bounded by: a listener's open connections, a batcher's lanes.
#[derive(Debug, Default)]
pub(super) struct Registry {
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    next_id: u64,
    running: HashMap<u64, Running>,
}

#[derive(Debug)]
struct Running {
    name: &'static str,
    wait: Wait,
    abort: Option<AbortHandle>,
}

impl Registry {
    /// Notes a task that is about to be spawned. Ids are never used twice, so a late `attach` cannot hit a successor.
    pub(super) fn enter(&self, name: &'static str, wait: Wait) -> u64 {
        let mut tasks = self.tasks.lock();
        let id = tasks.next_id;
        tasks.next_id += 1;
        tasks.running.insert(
            id,
            Running {
                name,
                wait,
                abort: None,
            },
        );
        id
    }

    pub(super) fn attach(&self, id: u64, abort: AbortHandle) {
        if let Some(running) = self.tasks.lock().running.get_mut(&id) {
            running.abort = Some(abort);
        }
    }

    pub(super) fn leave(&self, id: u64) {
        let left = self.tasks.lock().running.remove(&id);
        // The handle is dropped here, outside the lock.
        drop(left);
    }

    /// Counts the tasks that draining waits for, by name.
    pub(super) fn count_into(&self, counts: &mut BTreeMap<&'static str, usize>) {
        let tasks = self.tasks.lock();
        for running in tasks
            .running
            .values()
            .filter(|task| task.wait == Wait::Foreground)
        {
            *counts.entry(running.name).or_default() += 1;
        }
    }

    /// Aborts every task. Aborting may drop a task on this thread, and its drop calls [`Self::leave`]:
    /// hence the copies of the handles.
    pub(super) fn abort_all(&self) {
        let handles: Vec<AbortHandle> = self
            .tasks
            .lock()
            .running
            .values()
            .filter_map(|running| running.abort.clone())
            .collect();
        for handle in handles {
            handle.abort();
        }
    }
}

/// A running task's place in the registry; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Entry {
    scope: Arc<Scope>,
    id: u64,
    name: &'static str,
    on_error: OnError,
}

impl Entry {
    pub(super) fn new(scope: Arc<Scope>, id: u64, name: &'static str, on_error: OnError) -> Self {
        Self {
            scope,
            id,
            name,
            on_error,
        }
    }

    pub(super) fn on_failure(&self, error: TaskError) {
        self.scope.on_task_failure(self.name, self.on_error, error);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.scope.running.leave(self.id);
    }
}
