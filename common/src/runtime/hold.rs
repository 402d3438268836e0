//! Holding: while something that every event needs is down, the worker takes nothing.

use tokio::sync::watch;

/// What is down and how it shows; `None` while the worker works.
type State = Option<(&'static str, String)>;

/// The switch between working and holding, shared by all lanes of a worker.
#[derive(Debug)]
pub(super) struct Hold(watch::Sender<State>);

impl Hold {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Begins to hold; `true` for the one who began it.
    pub(super) fn begin(&self, dependency: &'static str, error: &str) -> bool {
        self.0.send_if_modified(|state| {
            let begins = state.is_none();
            if begins {
                *state = Some((dependency, error.to_owned()));
            }
            begins
        })
    }

    /// The dependency answers: work goes on.
    pub(super) fn end(&self) {
        self.0.send_replace(None);
    }

    /// Waits until the worker holds; says what for.
    pub(super) async fn begun(&self) -> (&'static str, String) {
        let mut state = self.0.subscribe();
        loop {
            if let Some(down) = state.borrow_and_update().clone() {
                return down;
            }
            // Cannot fail: the sender is `self`.
            let _ = state.changed().await;
        }
    }

    /// Waits until the worker works.
    pub(super) async fn ended(&self) {
        let mut state = self.0.subscribe();
        let _ = state.wait_for(Option::is_none).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_first_begins_and_everybody_waits_for_the_end() {
        let hold = Hold::new();
        hold.ended().await;
        assert!(hold.begin("postgres", "gone"));
        assert!(!hold.begin("rabbitmq", "gone too"));
        assert_eq!(hold.begun().await.0, "postgres");
        tokio::join!(hold.ended(), async { hold.end() });
        assert!(hold.begin("rabbitmq", "gone"));
    }
}
