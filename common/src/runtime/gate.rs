//! The gate of a worker: while it is shut, the worker takes nothing from its queue.

use std::sync::Arc;

use tokio::sync::watch;

/// Lets a worker take from its queue, or not. Clones are of one gate.
///
/// A shut gate is as somebody wants it: the worker is ready, its messages wait on the broker, and no attempt is spent. A
/// [hold](crate::outcome::Outcome::Hold) is for faults.
#[derive(Debug, Clone)]
pub struct Gate(Arc<watch::Sender<GateState>>);

/// How a gate stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateState {
    /// The worker takes.
    Open,
    /// The worker takes one message at a time.
    OneByOne,
    /// The worker takes nothing, for this reason.
    Shut(String),
}

impl Gate {
    /// Sets the gate; `true` if that changes it.
    pub fn set(&self, state: GateState) -> bool {
        self.0.send_if_modified(|now| {
            let changes = *now != state;
            *now = state;
            changes
        })
    }

    /// How it stands.
    pub fn state(&self) -> GateState {
        self.0.borrow().clone()
    }

    /// Whether the worker takes.
    pub fn is_open(&self) -> bool {
        !self.0.borrow().is_shut()
    }

    /// Waits until the worker may take.
    pub async fn opened(&self) {
        let mut state = self.0.subscribe();
        // Cannot fail: the sender is `self`.
        let _ = state.wait_for(|state| !state.is_shut()).await;
    }

    /// Waits until the worker may no longer take.
    pub async fn shut(&self) {
        let mut state = self.0.subscribe();
        let _ = state.wait_for(GateState::is_shut).await;
    }

    /// Waits until it stands otherwise than `state`.
    pub(super) async fn left(&self, state: &GateState) {
        let mut now = self.0.subscribe();
        let _ = now.wait_for(|now| now != state).await;
    }
}

impl GateState {
    pub(super) fn is_shut(&self) -> bool {
        matches!(self, Self::Shut(_))
    }
}

impl Default for Gate {
    /// An open gate.
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(GateState::Open)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_at_a_gate_learns_how_it_stands() {
        let gate = Gate::default();
        let clone = gate.clone();
        assert!(clone.is_open() && !gate.set(GateState::Open));
        clone.opened().await;
        let shut = GateState::Shut("their deploy".to_owned());
        tokio::join!(clone.shut(), async { gate.set(shut.clone()) });
        assert_eq!(clone.state(), shut);
        tokio::join!(clone.opened(), async { gate.set(GateState::OneByOne) });
        assert!(clone.is_open());
        tokio::join!(clone.left(&GateState::OneByOne), async {
            gate.set(GateState::Open)
        });
    }
}
