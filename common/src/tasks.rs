//! Background tasks that nobody awaits. One that panics would leave a program that is alive, ready and
//! useless, so its panic ends the program.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::LazyLock;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The first background task of this process that panicked, and its message.
static PANICKED: LazyLock<watch::Sender<Option<String>>> = LazyLock::new(watch::Sender::default);

/// Starts a background task; a panic in it ends the program. `name` is what the last message calls it.
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
            let text = format!("the task {name:?} panicked: {}", panic_message(&*panic));
            PANICKED.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert(text);
                is_first
            });
            resume_unwind(panic)
        }
    }
}

/// Waits until a background task has panicked; returns which one, and its message.
pub async fn panicked() -> String {
    let mut panicked = PANICKED.subscribe();
    // Cannot fail: the sender is static.
    let _ = panicked.wait_for(Option::is_some).await;
    panic_so_far().unwrap_or_default()
}

/// The first background task that has panicked so far, and its message.
pub fn panic_so_far() -> Option<String> {
    PANICKED.borrow().clone()
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
        assert_eq!(panicked().await, "the task \"bad\" panicked: on purpose");
        assert!(task.await.unwrap_err().is_panic());
        assert!(panic_so_far().is_some());
    }
}
