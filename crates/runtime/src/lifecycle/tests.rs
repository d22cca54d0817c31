use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{Lifecycle, OnError, RunError, Shutdown};

const GRACE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn drain_waits_for_tasks_to_finish_what_they_hold() {
    let lifecycle = Lifecycle::new();
    let finished = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let (drain, finished) = (lifecycle.drain_token(), Arc::clone(&finished));
        lifecycle.spawn("worker", OnError::Log, async move {
            drain.cancelled().await;
            tokio::task::yield_now().await;
            finished.fetch_add(1, Ordering::SeqCst);
        });
    }
    assert_eq!(lifecycle.shutdown(GRACE).await, Shutdown::Drained);
    assert_eq!(finished.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn tasks_that_outlive_the_grace_period_are_dropped_and_named() {
    let lifecycle = Lifecycle::new();
    let (held, dropped) = oneshot::channel::<()>();
    lifecycle.spawn("stuck", OnError::Log, async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    let outcome = lifecycle.shutdown(GRACE).await;
    assert_eq!(
        outcome,
        Shutdown::Halted {
            unfinished: [("stuck", 1)].into()
        }
    );
    assert!(dropped.await.is_err(), "the task's state was dropped");
}

#[tokio::test]
async fn newest_child_drains_first_while_older_ones_still_serve() {
    let lifecycle = Lifecycle::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let queue = lifecycle.child("queue");
    let gateway = lifecycle.child("gateway");
    for (scope, name) in [
        (&queue, "queue"),
        (&gateway, "gateway"),
        (&lifecycle, "process"),
    ] {
        let (scope, order, queue) = (scope.clone(), Arc::clone(&order), queue.clone());
        scope.clone().spawn("worker", OnError::Log, async move {
            scope.draining().await;
            order.lock().push((name, queue.is_draining()));
        });
    }
    assert_eq!(lifecycle.shutdown(GRACE).await, Shutdown::Drained);
    assert_eq!(
        *order.lock(),
        [("gateway", false), ("queue", true), ("process", true)]
    );
}

#[tokio::test]
async fn background_tasks_run_through_the_drain_and_are_dropped_after_it() {
    let lifecycle = Lifecycle::new();
    let (held, dropped) = oneshot::channel::<()>();
    lifecycle.spawn_background("probe", OnError::Shutdown, async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    let drain = lifecycle.drain_token();
    lifecycle.spawn(
        "worker",
        OnError::Log,
        async move { drain.cancelled().await },
    );
    assert_eq!(lifecycle.shutdown(GRACE).await, Shutdown::Drained);
    assert!(dropped.await.is_err());
}

#[tokio::test]
async fn failed_task_with_shutdown_policy_stops_the_process() {
    let lifecycle = Lifecycle::new();
    lifecycle.set_ready(true);
    let child = lifecycle.child("storage");
    child.spawn("writer", OnError::Shutdown, async {
        Err::<(), _>("disk is gone")
    });
    let error = lifecycle
        .run_until_stopped(GRACE)
        .await
        .expect_err("the failure is returned");
    let RunError::Task(failure) = error else {
        panic!("unexpected {error}")
    };
    assert_eq!(failure.task, "writer");
    assert_eq!(failure.source.to_string(), "disk is gone");
    assert!(!lifecycle.is_ready());
}

#[tokio::test]
async fn panic_is_a_failure_like_any_other() {
    let lifecycle = Lifecycle::new();
    lifecycle.spawn("fragile", OnError::Shutdown, async { run_out_of_luck() });
    let error = lifecycle
        .run_until_stopped(GRACE)
        .await
        .expect_err("the panic is returned");
    let RunError::Task(failure) = error else {
        panic!("unexpected {error}")
    };
    assert_eq!(failure.source.to_string(), "panicked: out of luck");
}

#[tokio::test]
async fn failed_task_with_log_policy_leaves_the_process_alone() {
    let lifecycle = Lifecycle::new();
    lifecycle.set_ready(true);
    lifecycle.spawn("connection", OnError::Log, async {
        Err::<(), _>("peer went away")
    });
    let drain = lifecycle.drain_token();
    lifecycle.spawn(
        "worker",
        OnError::Log,
        async move { drain.cancelled().await },
    );
    tokio::task::yield_now().await;
    assert!(lifecycle.is_ready());
    assert_eq!(lifecycle.shutdown(GRACE).await, Shutdown::Drained);
}

#[tokio::test]
async fn readiness_falls_as_soon_as_stopping_is_asked_for() {
    let lifecycle = Lifecycle::new();
    assert!(!lifecycle.is_ready(), "not ready until told so");
    lifecycle.set_ready(true);
    assert!(lifecycle.is_ready());
    lifecycle.child("part").stop();
    assert!(!lifecycle.is_ready());
    assert!(
        !lifecycle.is_draining(),
        "scopes drain in their order, not all at once"
    );
}

#[tokio::test]
async fn shutting_down_one_scope_leaves_the_rest_running() {
    let lifecycle = Lifecycle::new();
    lifecycle.set_ready(true);
    let child = lifecycle.child("part");
    let drain = child.drain_token();
    child.spawn(
        "worker",
        OnError::Log,
        async move { drain.cancelled().await },
    );
    assert_eq!(child.shutdown(GRACE).await, Shutdown::Drained);
    assert!(lifecycle.is_ready());
    assert!(!lifecycle.halt_token().is_cancelled());
}

#[tokio::test]
async fn task_spawned_after_the_halt_never_runs() {
    let lifecycle = Lifecycle::new();
    lifecycle.shutdown(GRACE).await;
    let (held, dropped) = oneshot::channel::<()>();
    lifecycle.spawn("late", OnError::Log, async move {
        held.send(()).map_err(|()| "closed")
    });
    assert!(dropped.await.is_err());
}

/// Returns `()` as a task does; a bare `panic!` would not.
fn run_out_of_luck() {
    panic!("out of {}", "luck");
}
