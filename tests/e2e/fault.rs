//! How a test of a fault ends.

use anyhow::{Result, ensure};
use testkit::{load::Load, receiver::Receiver, system::System};

use crate::LATER;

/// Checks that every accepted event of the load is completed and delivered, and that none was given up
/// over the fault.
pub async fn unharmed(system: System, load: Load, receiver: &Receiver) -> Result<()> {
    let accepted = load.finish(LATER).await?;
    let ledger = system.ledger().await?;
    ledger.all_completed(&accepted, LATER).await?;
    let letters = ledger.dead_letters().await?;
    ensure!(letters.is_empty(), "{letters:?}");
    let delivered = receiver.successes().len();
    ensure!(
        delivered >= accepted.len(),
        "only {delivered} of {} were delivered",
        accepted.len()
    );
    system.finish().await
}
