//! Dead letters: found, understood and sent again.

use anyhow::{Context, Result, ensure};
use testkit::{
    load::{Load, signup},
    receiver::{Answer, Receiver},
    system::{Destination, System},
};

use crate::{LATER, SOON};

#[tokio::test]
async fn a_dead_letter_is_shown_replayed_and_delivered() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(500));
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver).attempts(2, "250ms"))
        .start()
        .await?;
    let id = system.client().signup(&signup("replay")).await?;
    system.client().await_status(id, "dead", LATER).await?;

    let list = system
        .longshore(&["dead", "list", "--json"])
        .await?
        .json()?;
    let items = list["items"]
        .as_array()
        .context("`dead list --json` has no items")?;
    ensure!(items.len() == 1 && list["next"].is_null(), "{list}");
    let letters = system.ledger().await?.dead_letters().await?;
    let letter = letters[0].dead_letter_id.as_str();
    ensure!(
        list.to_string().contains(letter),
        "{list} does not name {letter}"
    );
    let shown = system
        .longshore(&["dead", "show", letter, "--json"])
        .await?
        .json()?
        .to_string();
    for part in [
        letter,
        &id.to_string(),
        "integrate.crm",
        &letters[0].reason,
        "500",
    ] {
        ensure!(
            shown.contains(part),
            "`dead show` does not tell {part}: {shown}"
        );
    }
    system
        .longshore(&["explain", &letters[0].reason])
        .await?
        .success()?;

    let unasked = system.longshore(&["dead", "replay", letter]).await?;
    ensure!(
        unasked.code != Some(0),
        "a replay without a terminal needs --yes: {unasked:?}"
    );
    receiver.always(Answer::status(200));
    system
        .longshore(&["dead", "replay", letter, "--yes"])
        .await?
        .success()?;
    system.ledger().await?.all_completed(&[id], LATER).await?;
    ensure!(system.client().await_rest(id, SOON).await?.status == "completed");
    ensure!(
        receiver.successes().values().sum::<usize>() == 1,
        "{:?}",
        receiver.successes()
    );
    let letters = system.ledger().await?.dead_letters().await?;
    ensure!(
        letters.len() == 1 && letters[0].state == "replayed",
        "{letters:?}"
    );
    let again = system
        .longshore(&["dead", "replay", letter, "--yes"])
        .await?;
    let after = system.client().signup(&signup("after")).await?;
    system
        .ledger()
        .await?
        .all_completed(&[id, after], SOON)
        .await?;
    ensure!(
        receiver.count() == 4,
        "a replayed letter went out again: {again:?}"
    );
    system.finish().await
}

#[tokio::test]
async fn a_replay_that_fails_again_is_a_new_dead_letter() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(500));
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver).attempts(2, "250ms"))
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let id = system.client().signup(&signup("again")).await?;
    let letters = ledger.await_dead_letters(1, LATER).await?;
    let first = letters[0].dead_letter_id.as_str();
    system
        .longshore(&["dead", "replay", first, "--yes"])
        .await?
        .success()?;
    let letters = ledger.await_dead_letters(2, LATER).await?;
    let open = letters
        .iter()
        .filter(|letter| letter.state == "open")
        .count();
    ensure!(open == 1 && letters.len() == 2, "{letters:?}");
    ensure!(ledger.settled(&[id], SOON).await?.dead == 1);
    ensure!(
        receiver.count() == 4,
        "the replay got its attempts anew: {}",
        receiver.count()
    );
    system.finish().await
}

#[tokio::test]
async fn all_dead_letters_of_a_filter_are_replayed_at_once() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.always(Answer::status(500));
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver).attempts(1, "250ms"))
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let accepted = Load::signups(system.client(), 40, 4).finish(SOON).await?;
    ledger.await_dead_letters(40, LATER).await?;
    receiver.always(Answer::status(200));
    let queue = system.named("integrate.crm");
    system
        .longshore(&["dead", "replay", "--queue", &queue, "--yes"])
        .await?
        .success()?;
    ledger.all_completed(&accepted, LATER).await?;
    ensure!(
        receiver.successes().values().all(|count| *count == 1),
        "{:?}",
        receiver.successes()
    );
    system.finish().await
}
