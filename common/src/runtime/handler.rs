//! The work of a worker on events.

use async_trait::async_trait;

use super::{Batch, Outcomes};
use crate::outcome::Outcome;

/// The work of a worker on events.
///
/// A handler takes events and returns an outcome for each. The runtime does everything else (taking, retrying,
/// waiting, dead letters), and a handler never sees it:
///
/// ```
/// use std::collections::BTreeSet;
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
///
/// use async_trait::async_trait;
/// use common::bootstrap::Program;
/// use common::broker::Broker;
/// use common::event::{Logins, now};
/// use common::message::Message;
/// use common::outcome::{Failure, Outcome};
/// use common::reason::ReasonCode;
/// use common::runtime::{Batch, Handler, Outcomes, Received, Spec, Worker, call_handler};
/// use common::topology::{Names, Stage};
///
/// /// Writes down the names to greet.
/// #[derive(Default)]
/// struct Greet(Mutex<BTreeSet<String>>);
///
/// #[async_trait]
/// impl Handler for Greet {
///     async fn handle(&self, batch: Batch<'_>) -> Result<Outcomes, Outcome> {
///         let mut names = self.0.lock().unwrap();
///         Ok(batch.answer(|received| match std::str::from_utf8(&received.message.body) {
///             // Done twice it changes nothing: every step may be done twice.
///             Ok(name) => {
///                 names.insert(name.to_owned());
///                 Outcome::Done
///             }
///             // No later attempt can succeed.
///             Err(error) => Outcome::Dead(Failure::from_error(ReasonCode::Undecodable, &error)),
///         }))
///     }
/// }
///
/// /// The worker that greets with the events of the store stage.
/// fn worker(program: &Program, broker: &Arc<dyn Broker>) -> Worker {
///     let queue = Names::new(program.config.namespace.clone()).store();
///     let spec = Spec::new(queue, program.config.stage(Stage::Store));
///     program.worker(broker, Arc::new(Greet::default()), spec)
/// }
///
/// // The worker handles two events, without a broker:
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let greet = Greet::default();
/// let event = |body: &'static [u8]| {
///     let body = body.into();
///     let message = Message { body, ..Message::default() };
///     Received::at_the_door(message, "signup.requested".to_owned(), &Logins::default(), now())
/// };
/// let events = [event(b"Ada"), event(b"\xff")];
/// let outcomes = call_handler(&greet, &events, Duration::from_secs(1)).await;
/// assert!(matches!(outcomes[..], [Outcome::Done, Outcome::Dead(_)]));
/// assert!(greet.0.lock().unwrap().contains("Ada"));
/// # }
/// ```
///
/// The fate of events when a handler does not answer for each:
///
/// | the handler | one event | several events |
/// |--|--|--|
/// | returns an error | the error is its outcome | each is handled alone; a hold, a snooze or giving back is the outcome of all |
/// | panics | a retry, `panicked` | each is handled alone, as redelivered |
/// | takes longer than the timeout of its stage | a retry, `timed_out` | each is handled alone, as redelivered |
/// | kills the process | it comes back; at the second time it is handled alone, at the fifth it is a dead letter | the same for each |
///
/// A handler cannot answer for too few or too many: only a [`Batch`] makes [`Outcomes`], one for each of its
/// events.
///
/// When the worker is told to stop, calls that run go on until the drain deadline. Then they are dropped, and the
/// broker gives their messages out again. A call that waits for its turn can end sooner: see
/// [`Claim::called_back`](super::Claim::called_back).
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Handles a batch, of at most the `batch` of its stage. May be called many times at once, and again for the
    /// same event, which must then change nothing. The call may be dropped at any await, when its time is up.
    ///
    /// # Errors
    /// The batch was refused as a whole and nothing of it took effect. The error is the outcome of an event that
    /// is alone in its batch.
    async fn handle(&self, batch: Batch<'_>) -> Result<Outcomes, Outcome>;

    /// Asks whether the dependency the handler holds for ([`Outcome::Hold`]) answers again. The runtime asks the
    /// broker by itself. A probe that panics or takes longer than the stage's timeout counts as failed.
    ///
    /// # Errors
    /// The dependency does not answer; the error says how that shows.
    async fn probe(&self) -> Result<(), String> {
        Ok(())
    }
}
