//! Background tasks that nobody awaits. One that panics, or ends before its time, would leave a program that is
//! alive, ready and useless, so that ends the program.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::LazyLock;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The first background task of this process that failed, and how.
static FAILED: LazyLock<watch::Sender<Option<String>>> = LazyLock::new(watch::Sender::default);

/// Starts a background task; a panic in it ends the program. `name` is its name in the last message.
pub fn spawn<F>(name: &'static str, task: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(supervised(name, task))
}

/// The same task, to be spawned elsewhere (in a `TaskTracker`, say); a panic in it ends the program.
pub async fn supervised<F: Future>(name: &'static str, task: F) -> F::Output {
    match AssertUnwindSafe(task).catch_unwind().await {
        Ok(output) => output,
        Err(panic) => {
            let message = panic_message(&*panic);
            report(format!("the task {name:?} panicked: {message}"));
            resume_unwind(panic)
        }
    }
}

/// Starts a background task that works until `stop` is cancelled. If it panics or ends earlier, the program ends.
pub fn spawn_until<F>(name: &'static str, stop: CancellationToken, task: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(supervised_until(name, stop, task))
}

/// The same task, to be spawned elsewhere.
pub async fn supervised_until<F: Future>(
    name: &'static str,
    stop: CancellationToken,
    task: F,
) -> F::Output {
    let output = supervised(name, task).await;
    if !stop.is_cancelled() {
        report(format!("the task {name:?} ended before its stop signal"));
    }
    output
}

/// Notes how a background task failed, if it is the first.
fn report(failure: String) {
    FAILED.send_if_modified(|first| {
        let is_first = first.is_none();
        first.get_or_insert(failure);
        is_first
    });
}

/// Waits until a background task has failed; returns which one, and how.
pub async fn failed() -> String {
    let mut failed = FAILED.subscribe();
    // Cannot fail: the sender is static.
    let _ = failed.wait_for(Option::is_some).await;
    failure_so_far().unwrap_or_default()
}

/// The first background task that has failed so far, and how.
pub fn failure_so_far() -> Option<String> {
    FAILED.borrow().clone()
}

/// The text that a panic was raised with.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_reported_with_its_name_and_message() {
        assert_eq!(spawn("good", async { 7 }).await.unwrap(), 7);
        let task = spawn("bad", async { panic!("on purpose") });
        assert_eq!(failed().await, "the task \"bad\" panicked: on purpose");
        assert!(task.await.unwrap_err().is_panic());
        assert!(failure_so_far().is_some());
    }

    #[tokio::test]
    async fn a_task_that_ends_before_it_is_told_to_is_reported() {
        let stop = CancellationToken::new();
        let told = spawn_until("told", stop.clone(), stop.clone().cancelled_owned());
        stop.cancel();
        told.await.unwrap();
        assert_eq!(failure_so_far(), None);
        let early = spawn_until("early", CancellationToken::new(), async {});
        early.await.unwrap();
        assert_eq!(
            failed().await,
            "the task \"early\" ended before its stop signal"
        );
    }
}
