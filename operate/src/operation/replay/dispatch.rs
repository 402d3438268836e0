//! Sends parcels until the broker has answered for each of them, or the run is to end.

use common::bootstrap::Failure;

use super::courier::{Fate, Parcel, publish_all};
use crate::operation::outcome::News;
use crate::operation::run::Run;

/// The parcels that the broker did not confirm, by their keys.
pub(super) struct Dispatched<K> {
    /// The broker will never take these.
    pub(super) refused: Vec<Refused<K>>,
    /// These were not sent, or that is not known.
    pub(super) unsent: Vec<K>,
}

/// A parcel that the broker will never take.
pub(super) struct Refused<K> {
    pub(super) key: K,
    pub(super) queue: String,
    pub(super) problem: String,
}

/// Publishes parcels. `confirmed` gets the keys of the parcels that the broker has confirmed, some at a time.
///
/// # Errors
/// The broker was down for too long, or as `confirmed`.
pub(super) async fn send_all<K: Copy>(
    run: &Run<'_>,
    parcels: Vec<(K, Parcel)>,
    mut confirmed: impl AsyncFnMut(&[K]) -> Result<(), Failure>,
) -> Result<Dispatched<K>, Failure> {
    let (mut keys, mut parcels): (Vec<K>, Vec<Parcel>) = parcels.into_iter().unzip();
    let mut refused = Vec::new();
    let mut outage = None;
    while !parcels.is_empty() {
        let turn = async || {
            tokio::select! {
                biased;
                () = run.halted() => false,
                () = run.pace.turn() => true,
            }
        };
        let one_more = || run.report.tell(News::Sent(1));
        let (fates, failure) = publish_all(run.executor.broker, &parcels, turn, one_more).await;
        let (mut sent, mut again) = (Vec::new(), (Vec::new(), Vec::new()));
        for ((key, parcel), fate) in keys.into_iter().zip(parcels).zip(fates) {
            match fate {
                Fate::Confirmed => sent.push(key),
                Fate::Refused(problem) => {
                    let queue = parcel.queue;
                    refused.push(Refused {
                        key,
                        queue,
                        problem,
                    });
                }
                Fate::Unknown => {
                    again.0.push(key);
                    again.1.push(parcel);
                }
            }
        }
        (keys, parcels) = again;
        if !sent.is_empty() {
            confirmed(&sent).await?;
            if outage.take().is_some() {
                run.report.tell(News::GoingOn);
            }
        }
        if run.is_halted() {
            if failure.is_some() {
                run.leave_unsure();
            }
            break;
        }
        if let Some(error) = failure {
            let why = Failure::from(error).in_one_line();
            run.patience.wait_out(&mut outage, why).await?;
        }
    }
    Ok(Dispatched {
        refused,
        unsent: keys,
    })
}
