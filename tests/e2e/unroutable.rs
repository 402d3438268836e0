//! A publish that no queue takes is never accepted.

use anyhow::{Result, ensure};
use testkit::{load::signup, process::Program, system::System, wait::eventually};

use crate::SOON;

#[tokio::test]
async fn without_a_queue_behind_the_door_callers_get_503_until_there_is_one() -> Result<()> {
    let builder = System::builder();
    let system = Program::WORKERS
        .into_iter()
        .fold(builder, |some, worker| some.copies(worker, 0))
        .start()
        .await?;
    let outsider = system.outsider().await?;
    for queue in ["validate", "history"] {
        outsider.delete_queue(&system.named(queue)).await?;
    }
    let refused = system
        .client()
        .post_once("/v1/signups", "nowhere", &signup("nowhere"))
        .await?;
    if refused.status != 202 {
        refused.problem(503)?;
    }
    // The producer declares the queue again, at once or with its next look.
    eventually(SOON, "the door to accept again", || async {
        let body = signup("nowhere");
        let answer = system.client().post_once("/v1/signups", "nowhere", &body);
        answer.await?.accepted()
    })
    .await?;
    outsider
        .await_messages(&system.named("validate"), 1, SOON)
        .await?;
    system.finish().await
}

#[tokio::test]
async fn an_event_without_a_listener_to_stored_is_no_failure() -> Result<()> {
    let system = System::builder().start().await?;
    let id = system.client().signup(&signup("unheard")).await?;
    system.ledger().await?.all_completed(&[id], SOON).await?;
    ensure!(system.ledger().await?.dead_letters().await?.is_empty());
    system.finish().await
}
