//! The ledger of a live system, and what is missing from it.

use anyhow::{Result, ensure};
use e2e::{
    broker::Message,
    load::{Load, signup},
    process::Program,
    receiver::Receiver,
    system::{Destination, System},
};

use crate::{LATER, SOON};

#[tokio::test]
async fn a_system_balances_until_something_is_lost_and_again_once_it_is_requeued() -> Result<()> {
    let receiver = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let accepted = Load::signups(system.client(), 20, 4).finish(SOON).await?;
    ledger.all_completed(&accepted, LATER).await?;
    // What is refused and what is no event is accounted for as well.
    let outsider = system.outsider().await?;
    let received = system.named("received");
    let garbage = Message::new("garbage");
    outsider
        .publish(&received, "signup.requested", &garbage)
        .await?;
    ledger.await_dead_letters(1, LATER).await?;

    let verify = ["verify", "--since", "1h", "--grace", "0s", "--json"];
    let balanced = system.longshore(&verify).await?.json()?;
    ensure!(balanced["balances"] == true, "{balanced}");
    ensure!(
        balanced["received"] == 21 && balanced["completed"] == 20,
        "{balanced}"
    );
    ensure!(balanced["dead"] == 1, "{balanced}");

    // Somebody empties a queue by hand.
    system.kill(Program::Validate, 0).await?;
    let lost = system.client().signup(&signup("lost")).await?;
    let queue = system.named("validate");
    outsider.await_messages(&queue, 1, SOON).await?;
    let waiting = system.longshore(&verify).await?.json()?;
    ensure!(
        waiting["under_way"] == 1 && waiting["balances"] == true,
        "{waiting}"
    );
    outsider.take(&queue, 1).await?;
    outsider.await_empty(&queue, SOON).await?;
    let unbalanced = system.longshore(&verify).await?;
    unbalanced.exit(1)?;
    ensure!(
        unbalanced.stdout.contains("\"stuck\": 1"),
        "{}",
        unbalanced.stdout
    );

    let stuck = ["events", "stuck", "--grace", "0s", "--json"];
    let found = system.longshore(&stuck).await?.json()?;
    ensure!(found["items"][0]["event"] == lost.to_string(), "{found}");
    let requeue = [&stuck[..], &["--requeue"]].concat();
    system.longshore(&requeue).await?.exit(2)?;
    let requeued = [&requeue[..], &["--yes"]].concat();
    let requeued = system.longshore(&requeued).await?.json()?;
    ensure!(requeued["requeued"] == 1, "{requeued}");
    system.start_again(Program::Validate, 0).await?;
    ledger.all_completed(&[lost], LATER).await?;
    let mended = system.longshore(&verify).await?.json()?;
    ensure!(
        mended["balances"] == true && mended["completed"] == 21,
        "{mended}"
    );
    system.finish().await
}
