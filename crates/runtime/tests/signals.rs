//! Signals concern the whole process, so this binary holds one test and sends them to itself.
#![cfg(unix)]

use std::process::Command;
use std::time::Duration;

use downlink_runtime::{Lifecycle, OnError, Shutdown};
use tokio::sync::oneshot;

#[tokio::test]
async fn first_signal_drains_and_the_second_halts() {
    let lifecycle = Lifecycle::new();
    lifecycle.set_ready(true);
    let (draining, drained) = oneshot::channel();
    let drain = lifecycle.drain_token();
    lifecycle.spawn("stuck", OnError::Log, async move {
        drain.cancelled().await;
        draining.send(()).map_err(|()| "the test went away")?;
        std::future::pending::<Result<(), &str>>().await
    });
    let run = lifecycle.run_until_stopped(Duration::from_mins(10));
    tokio::pin!(run);

    // The first poll installs the handlers; a signal before that would end the process.
    tokio::select! {
        biased;
        _ = &mut run => panic!("nothing asked it to stop"),
        () = std::future::ready(()) => {}
    }
    interrupt_this_process();
    tokio::select! {
        _ = &mut run => panic!("the first signal only drains"),
        result = drained => result.expect("the task says that it drains"),
    }
    assert!(!lifecycle.is_ready());
    interrupt_this_process();
    let outcome = run.await.expect("no task failed");
    assert_eq!(
        outcome,
        Shutdown::Halted {
            unfinished: [("stuck", 1)].into()
        }
    );
}

fn interrupt_this_process() {
    let pid = std::process::id().to_string();
    let status = Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .expect("kill runs");
    assert!(status.success());
}
