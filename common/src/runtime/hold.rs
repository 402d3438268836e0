//! Holding: while a dependency of every event is down, the worker takes nothing.

use std::time::Instant;

use tokio::sync::watch;

use crate::dependency::{Dependency, Engines};

/// A dependency that is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Down {
    /// The dependency.
    pub(super) dependency: Dependency,
    /// The error that shows it.
    pub(super) error: String,
}

impl Down {
    /// The broker, which the runtime itself needs.
    pub(super) fn broker(error: impl ToString) -> Self {
        Self {
            dependency: Dependency::Broker,
            error: error.to_string(),
        }
    }
}

/// The switch between working and holding, shared by all lanes of a worker.
#[derive(Debug)]
pub(super) struct Hold {
    state: watch::Sender<Option<Held>>,
    engines: Engines,
}

#[derive(Debug, Clone)]
struct Held {
    down: Down,
    since: Instant,
}

impl Hold {
    pub(super) fn new(engines: Engines) -> Self {
        Self {
            state: watch::Sender::new(None),
            engines,
        }
    }

    /// Begins to hold; `true` for the caller who began it.
    pub(super) fn begin(&self, down: Down) -> bool {
        self.state.send_if_modified(|held| {
            let begins = held.is_none();
            if begins {
                *held = Some(Held {
                    down,
                    since: Instant::now(),
                });
            }
            begins
        })
    }

    /// The hold goes on, now for this reason.
    pub(super) fn go_on(&self, down: Down) {
        self.state.send_modify(|held| {
            if let Some(held) = held {
                held.down = down;
            }
        });
    }

    /// The dependency answers: work goes on.
    pub(super) fn end(&self) {
        self.state.send_replace(None);
    }

    /// The reason of the hold, in words; `None` while the worker works.
    pub(super) fn problem(&self) -> Option<String> {
        let held = self.state.borrow();
        let Held { down, since } = held.as_ref()?;
        let Down { dependency, error } = down;
        let engine = self.engines.engine_of(*dependency).as_str();
        let seconds = since.elapsed().as_secs();
        Some(format!("holding for {engine} for {seconds} s: {error}"))
    }

    /// Waits until the worker holds; returns the dependency that is down.
    pub(super) async fn begun(&self) -> Down {
        let mut state = self.state.subscribe();
        loop {
            if let Some(held) = &*state.borrow_and_update() {
                return held.down.clone();
            }
            // Cannot fail: the sender is `self`.
            let _ = state.changed().await;
        }
    }

    /// Waits until the worker works.
    pub(super) async fn ended(&self) {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(Option::is_none).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::EngineKind;

    const ENGINES: Engines = Engines {
        broker: EngineKind::RabbitMq,
        database: EngineKind::Postgres,
    };

    fn down(dependency: Dependency) -> Down {
        Down {
            dependency,
            error: "gone".to_owned(),
        }
    }

    #[tokio::test]
    async fn only_the_first_begins_and_everybody_waits_for_the_end() {
        let hold = Hold::new(ENGINES);
        hold.ended().await;
        assert_eq!(hold.problem(), None);
        assert!(hold.begin(down(Dependency::Database)));
        assert!(!hold.begin(down(Dependency::Broker)));
        assert_eq!(hold.begun().await.dependency, Dependency::Database);
        hold.go_on(down(Dependency::Broker));
        let problem = hold.problem().unwrap();
        assert_eq!(problem, "holding for rabbitmq for 0 s: gone");
        tokio::join!(hold.ended(), async { hold.end() });
        assert!(hold.begin(down(Dependency::Broker)));
    }
}
