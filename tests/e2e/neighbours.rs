//! The cost of unreadable or far too large messages for all others: time and memory.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result, ensure};
use sqlx::Row as _;
use testkit::{
    client::Client,
    load::signup,
    process::{Process, Program},
    raw::{RawProperties, RawPublisher},
    receiver::Receiver,
    services::Services,
    system::{Destination, System},
};
use tokio::time::{Instant, interval};
use uuid::Uuid;

use crate::LATER;
use crate::wire::odd;

/// How often each odd message is sent.
const ROUNDS: usize = 10;
/// The pause between two good events, and between two odd messages.
const GOOD_EVERY: Duration = Duration::from_millis(25);
const ODD_EVERY: Duration = Duration::from_millis(150);
/// How long the quiet before it is measured.
const QUIET: Duration = Duration::from_secs(5);
/// An odd message may cost its neighbours less than this.
const BEARABLE: Duration = Duration::from_secs(1);

/// Sends good events until `until`; returns when each was sent.
async fn good_traffic(client: &Client, until: Instant) -> Result<Vec<(Uuid, Instant)>> {
    let mut tick = interval(GOOD_EVERY);
    let mut sent = Vec::new();
    while Instant::now() < until {
        tick.tick().await;
        let at = Instant::now();
        sent.push((client.signup(&signup("good")).await?, at));
    }
    Ok(sent)
}

/// The longest way from a request to the receiver.
fn longest(sent: &[(Uuid, Instant)], receiver: &Receiver) -> Result<Duration> {
    let arrived: HashMap<String, Instant> = receiver
        .requests()
        .into_iter()
        .map(|request| (request.webhook_id().to_owned(), request.at))
        .collect();
    let mut longest = Duration::ZERO;
    for (id, at) in sent {
        let arrived = arrived.get(&id.to_string()).context("it was delivered")?;
        longest = longest.max(arrived.duration_since(*at));
    }
    Ok(longest)
}

#[tokio::test]
async fn what_no_library_can_read_costs_its_neighbours_less_than_a_second() -> Result<()> {
    let receiver = Receiver::start().await?;
    let system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .start()
        .await?;
    let (client, ledger) = (system.client().clone(), system.ledger().await?);
    let delivered = async |sent: &[(Uuid, Instant)]| {
        let ids: Vec<Uuid> = sent.iter().map(|(id, _)| *id).collect();
        ledger.all_completed(&ids, LATER).await
    };
    let quiet = good_traffic(&client, Instant::now() + QUIET).await?;
    delivered(&quiet).await?;
    let quiet = longest(&quiet, &receiver)?;

    let mut publisher = RawPublisher::connect(&Services::shared().broker_url).await?;
    let received = system.named("received");
    let mut worst = Duration::ZERO;
    for (number, (properties, key, says)) in odd().into_iter().enumerate() {
        let until = Instant::now() + ODD_EVERY * u32::try_from(ROUNDS + 1)?;
        let (sent, odd) = tokio::join!(good_traffic(&client, until), async {
            let mut tick = interval(ODD_EVERY);
            for round in 0..ROUNDS {
                tick.tick().await;
                let body = format!("{{\"n\":\"{round}-{number}\"}}");
                publisher
                    .publish(&received, key, &properties, body.as_bytes())
                    .await?;
            }
            anyhow::Ok(())
        });
        odd?;
        let sent = sent?;
        delivered(&sent).await?;
        let longest = longest(&sent, &receiver)?;
        println!("{longest:?} at most, {quiet:?} in the quiet: {says}");
        worst = worst.max(longest);
    }
    ensure!(
        worst <= BEARABLE.max(2 * quiet),
        "{worst:?}, {quiet:?} in the quiet"
    );
    ledger
        .await_dead_letters(ROUNDS * odd().len(), LATER)
        .await?;
    system.finish().await
}

/// The most memory a process ever had, in MiB.
fn peak(process: &Process) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.context("no VmHWM")?.trim().trim_end_matches(" kB");
    Ok(kib.parse::<u64>()? / 1024)
}

#[tokio::test]
async fn of_what_is_far_too_large_the_beginning_is_kept_in_little_memory() -> Result<()> {
    const COUNT: usize = 120;
    let receiver = Receiver::start().await?;
    let mut system = System::builder()
        .destination(Destination::webhook("crm", &receiver))
        .copies(Program::Validate, 0)
        .start()
        .await?;
    let ledger = system.ledger().await?;
    let mut publisher = RawPublisher::connect(&Services::shared().broker_url).await?;
    let received = system.named("received");
    let properties = RawProperties::new().content_type("application/json");
    for number in 0..COUNT {
        let body = format!("\"{number}-{}\"", "x".repeat(4 * 1024 * 1024));
        publisher
            .publish(&received, "signup.requested", &properties, body.as_bytes())
            .await?;
    }
    // All of them wait when it comes.
    system.add(Program::Validate).await?;
    let letters = ledger.await_dead_letters(COUNT, LATER).await?;
    let kept = sqlx::query(
        "select max(octet_length(body)) as bytes, min(error) as error, min(reason) as reason,
                max(reason) as other_reason, min(headers->>'longshore-cut') as cut from dead_letters",
    )
    .fetch_one(ledger.pool())
    .await?;
    ensure!(kept.get::<i32, _>("bytes") == 4096, "only the beginning");
    let error: String = kept.get("error");
    for part in [
        "expected a body of at most 262144 bytes, found 41943",
        "SHA-256 of the whole: ",
    ] {
        ensure!(error.contains(part), "{error}");
    }
    let reasons: [String; 2] = [kept.get("reason"), kept.get("other_reason")];
    ensure!(reasons == ["too_large", "too_large"], "{reasons:?}");
    let cut: String = kept.get("cut");
    ensure!(cut.contains(" bytes, sha256 "), "{cut}");
    let letter = letters[0].dead_letter_id.as_str();
    let replay = system
        .longshore(&["dead", "replay", letter, "--yes"])
        .await?;
    let said = format!("{}{}", replay.stdout, replay.stderr);
    ensure!(
        said.contains("only the beginning of its body was kept"),
        "{said}"
    );
    for program in [Program::Validate, Program::Archive] {
        let peak = peak(system.process(program, 0)?)?;
        println!("{program}: at most {peak} MiB");
        ensure!(peak < 100, "{program} took {peak} MiB");
    }
    system.finish().await
}
