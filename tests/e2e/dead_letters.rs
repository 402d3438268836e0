//! Dead letters in an operator's hands: found, understood, mended, given up, removed.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::{
    load::signup,
    receiver::{Answer, Receiver},
    system::{Destination, System},
};

use crate::{LATER, SOON};

/// The locale that the receiver wants of every signup.
const WANTED: &str = "de-AT";

/// A system with one dead letter of an event that only the receiver finds wrong: `(system, receiver, letter)`.
async fn one_refused() -> Result<(System, Receiver, String)> {
    let receiver = Receiver::start().await?;
    receiver.plan(|call| {
        let event = call.request.json().unwrap_or_default();
        if event["data"]["locale"] == WANTED {
            Answer::status(200)
        } else {
            Answer::status(422)
        }
    });
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver).attempts(2, "250ms"))
        .start()
        .await?;
    system.client().signup(&signup("refused")).await?;
    let letters = system.ledger().await?.await_dead_letters(1, LATER).await?;
    let letter = letters[0].dead_letter_id.clone();
    Ok((system, receiver, letter))
}

/// A command's JSON.
async fn json(system: &System, arguments: &[&str]) -> Result<Value> {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    system.longshore(&arguments).await?.json()
}

/// The state of the one letter there is.
async fn state(system: &System) -> Result<String> {
    let letters = system.ledger().await?.dead_letters().await?;
    Ok(letters.first().context("there is no letter")?.state.clone())
}

#[tokio::test]
async fn a_dead_letter_is_found_understood_mended_and_sent_as_mended() -> Result<()> {
    let (system, receiver, letter) = one_refused().await?;
    let letter = letter.as_str();

    for (filter, found) in [
        (&["--cause", "theirs", "--since", "1h"][..], true),
        (&["--text", "FOUND 422", "--queue", "integrate.crm"], true),
        (&["--cause", "ours"], false),
        (&["--until", "1h"], false),
        (&["--text", "no such words"], false),
    ] {
        let listed = json(&system, &[&["dead", "list"], filter].concat()).await?;
        let ids = listed["items"]
            .as_array()
            .context("`dead list` has no items")?;
        ensure!(
            ids.iter().any(|it| it["id"] == letter) == found,
            "{filter:?}: {listed}"
        );
    }

    let stats = json(&system, &["dead", "stats", "--state", "open"]).await?;
    let [group] = stats["items"].as_array().map_or(&[][..], Vec::as_slice) else {
        anyhow::bail!("expected one group: {stats}")
    };
    ensure!(
        group["reason"] == "receiver_refused"
            && group["action"] == "mend_then_replay"
            && group["letters"] == 1
            && group["history"][0]["letters"] == 1,
        "{group}"
    );

    let shown = json(&system, &["dead", "show", letter]).await?;
    ensure!(shown["tried"][0]["status_code"] == 422, "{shown}");
    ensure!(
        shown["message"]["body"]["data"]["locale"] != WANTED,
        "{shown}"
    );
    let commands = shown["next"].to_string();
    ensure!(commands.contains("dead edit"), "{commands}");

    let wrong = system.file(
        "wrong.json",
        r#"{"data":{"email":"nobody","locale":"???"}}"#,
    )?;
    let wrong = wrong.to_str().context("the scratch folder is no text")?;
    let refused = system
        .longshore(&["dead", "edit", letter, "--patch", wrong])
        .await?;
    refused.exit(1)?;
    ensure!(
        refused.stderr.contains("/email") && refused.stderr.contains("/locale"),
        "{refused:?}"
    );
    let right = system.file(
        "right.json",
        format!(r#"{{"data":{{"locale":"{WANTED}"}}}}"#),
    )?;
    let right = right.to_str().context("the scratch folder is no text")?;
    let edit = [
        "dead",
        "edit",
        letter,
        "--patch",
        right,
        "--why",
        "they want a locale",
    ];
    let mended = json(&system, &edit).await?;
    ensure!(mended["saved"] == true, "{mended}");
    ensure!(
        mended["diff"]
            .as_str()
            .is_some_and(|diff| diff.contains(WANTED)),
        "{mended}"
    );

    let shown = json(&system, &["dead", "show", letter]).await?;
    ensure!(
        shown["message"]["body"]["data"]["locale"] == WANTED,
        "{shown}"
    );
    let kept = &shown["edits"][0];
    ensure!(
        kept["why"] == "they want a locale" && kept["before"]["data"]["locale"] != WANTED,
        "{shown}"
    );

    system
        .longshore(&["dead", "replay", letter, "--yes"])
        .await?
        .success()?;
    let event = shown["event"]
        .as_str()
        .context("the letter has no event")?
        .parse()?;
    system
        .ledger()
        .await?
        .all_completed(&[event], LATER)
        .await?;
    ensure!(
        receiver.successes().len() == 1,
        "{:?}",
        receiver.successes()
    );
    let late = system.longshore(&edit).await?;
    late.exit(1)?;
    ensure!(
        late.stderr.contains("found") && late.stderr.contains("replayed"),
        "{late:?}"
    );
    system.finish().await
}

#[tokio::test]
async fn an_editor_of_the_operator_s_is_opened_and_what_it_leaves_is_checked() -> Result<()> {
    let (system, _receiver, letter) = one_refused().await?;
    let edit = ["dead", "edit", letter.as_str()];
    let with = async |editor: &str| {
        let editor = [("VISUAL", ""), ("EDITOR", editor)];
        system.longshore_with(&editor, &edit).await
    };

    with("").await?.exit(2)?;
    with("false").await?.exit(1)?;
    let unchanged = with("true").await?;
    ensure!(
        unchanged.success()?.contains("nothing was changed"),
        "{unchanged:?}"
    );
    let other = with(r#"sed -i 's/"source": "[^"]*"/"source": "other"/'"#).await?;
    other.exit(1)?;
    ensure!(other.stderr.contains("same event"), "{other:?}");
    with(r#"sed -i 's/"name": "[^"]*"/"name": "Ada of Linz"/'"#)
        .await?
        .success()?;
    let shown = json(&system, &["dead", "show", &letter]).await?;
    ensure!(
        shown["message"]["body"]["data"]["name"] == "Ada of Linz",
        "{shown}"
    );
    ensure!(
        shown["edits"]
            .as_array()
            .is_some_and(|edits| edits.len() == 1),
        "{shown}"
    );
    system.finish().await
}

#[tokio::test]
async fn a_dead_letter_is_discarded_restored_discarded_and_purged() -> Result<()> {
    let (system, _receiver, letter) = one_refused().await?;
    let letter = letter.as_str();
    let why = ["--why", "a test of ours"];
    let discard = [&["dead", "discard", letter][..], &why].concat();

    system
        .longshore(&["dead", "discard", letter, "--yes"])
        .await?
        .exit(2)?;
    let unasked = system.longshore(&discard).await?;
    unasked.exit(2)?;
    let nothing = [&["dead", "discard", "--yes"][..], &why].concat();
    system.longshore(&nothing).await?.exit(2)?;
    let tried = json(&system, &[&discard[..], &["--dry-run"]].concat()).await?;
    ensure!(tried["would_be_discarded"] == 1, "{tried}");
    ensure!(
        state(&system).await? == "open",
        "nothing was to be done yet"
    );

    let discarded = json(&system, &[&discard[..], &["--yes"]].concat()).await?;
    ensure!(discarded["discarded"] == 1, "{discarded}");
    ensure!(state(&system).await? == "discarded");
    let shown = json(&system, &["dead", "show", letter]).await?;
    ensure!(shown["discarded"]["why"] == "a test of ours", "{shown}");
    let replayed = system
        .longshore(&["dead", "replay", letter, "--yes"])
        .await?;
    replayed.exit(1)?;

    let restored = json(
        &system,
        &["dead", "restore", "--destination", "crm", "--yes"],
    )
    .await?;
    ensure!(restored["restored"] == 1, "{restored}");
    ensure!(state(&system).await? == "open");

    // An open letter is never removed, and a settled one only when it is old enough.
    let purge = ["dead", "purge", "--older-than", "0s", "--yes"];
    ensure!(json(&system, &purge).await?["purged"] == 0);
    system
        .longshore(&[&discard[..], &["--yes"]].concat())
        .await?
        .success()?;
    ensure!(json(&system, &["dead", "purge", "--yes"]).await?["purged"] == 0);
    ensure!(json(&system, &purge).await?["purged"] == 1);
    system.longshore(&["dead", "show", letter]).await?.exit(1)?;
    let after = system.client().signup(&signup("after")).await?;
    system.client().await_status(after, "dead", SOON).await?;
    system.finish().await
}
