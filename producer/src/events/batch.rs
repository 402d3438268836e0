//! Batches of structured events: taken whole or not at all.

use bytes::Bytes;
use common::outcome::FieldError;

use super::one;
use crate::admit::{Admitted, Origin, Refusal};
use crate::door::Door;
use crate::json;
use crate::problem::{Code, Problem};

/// At most this many errors of a batch are listed.
const MOST_ERRORS: usize = 200;

/// Reads all events of a batch.
///
/// # Errors
/// It is not a batch, holds too many events, or has invalid ones: the errors of all of them.
pub(super) fn read(door: &Door, origin: &Origin, whole: &Bytes) -> Result<Vec<Admitted>, Problem> {
    let most = door.config.limits.batch_events;
    let Some(elements) =
        json::elements(whole, most).map_err(|wrong| Refusal::wrong("", wrong).into_problem())?
    else {
        let detail = format!("expected a batch of at most {most} events, found more; split it");
        return Err(Problem::new(Code::TooLarge, detail));
    };
    let mut events = Vec::with_capacity(elements.len());
    let mut errors: Vec<FieldError> = Vec::new();
    let mut code = None;
    for (index, element) in elements.into_iter().enumerate() {
        match one(door, origin, whole, Some(element.get())) {
            Ok(event) => events.push(event),
            Err(refusal) => {
                // One code where all agree on it.
                code = match code {
                    None => Some(refusal.code),
                    Some(code) if code == refusal.code => Some(code),
                    Some(_) => Some(Code::Invalid),
                };
                if errors.len() < MOST_ERRORS {
                    errors.extend(refusal.below(&format!("/{index}")).errors);
                }
            }
        }
    }
    match code {
        None => Ok(events),
        Some(code) => {
            errors.truncate(MOST_ERRORS);
            Err(Refusal { code, errors }.into_problem())
        }
    }
}
