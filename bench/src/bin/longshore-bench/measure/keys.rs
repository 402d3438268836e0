//! What keys cost at the door: beside an open door, and one look among many.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use bench::http_load::{self, HttpLoad};
use bench::{Events, Report, Unit};
use common::bootstrap::Failure;
use common::key::{Key, KnownKey, Scope, Scopes};
use longshore::Program;
use producer::Keyring;

use super::door::all_accepted;
use super::lab::{EVENT_BYTES, Lab, median};

/// Keys that the door knows.
const KEYS: usize = 100_000;

/// Connections that send single requests.
const CONNECTIONS: usize = 64;

/// An open door and one that asks for keys in turn, then single looks.
pub(super) async fn measure(
    lab: &Lab,
    count: u64,
    rounds: u32,
    report: &mut Report,
) -> Result<(), Failure> {
    let key = Key::generate().map_err(anyhow::Error::from)?;
    let (mut open, mut keyed, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let without = accept(lab, count, None).await?;
        let with = accept(lab, count, Some(&key)).await?;
        lab.say(&format!(
            "round {round}: {without:.0} requests/s without keys, {with:.0} with"
        ));
        ratios.push(with / without);
        open.push(without);
        keyed.push(with);
    }
    report.add("door_open", median(open), Unit::RequestsPerSecond);
    report.add("door_with_keys", median(keyed), Unit::RequestsPerSecond);
    report.aim("door_with_keys_to_open", median(ratios), Unit::Ratio, 0.95);
    let look = look_among(KEYS)?;
    report.add("key_lookup", look.as_secs_f64() * 1e6, Unit::Microseconds);
    Ok(())
}

/// The rate of single requests at a producer alone, with the keys of its configuration where it asks for one.
async fn accept(lab: &Lab, count: u64, key: Option<&Key>) -> Result<f64, Failure> {
    let settings = key.map(settings).unwrap_or_default();
    lab.on_a_system(&settings, async |system| {
        let door = system.start(&[Program::Producer]).await?;
        let door = door.first().context("the producer listens nowhere")?;
        let load = |count| HttpLoad {
            base_url: format!("http://{door}"),
            key: key.map(|key| key.expose().to_owned()),
            events: Events::new(EVENT_BYTES),
            count,
            connections: CONNECTIONS,
            rate: None,
            accepted: None,
        };
        // Connections and caches are warm before it counts.
        http_load::singles(&load(count.min(1000))).await?;
        let singles = http_load::singles(&load(count)).await?;
        all_accepted(&singles, count)?;
        Ok(singles.rate())
    })
    .await
}

fn settings(key: &Key) -> String {
    format!(
        "[auth]\ndoor = \"keys\"\n\n[[key]]\nname = \"bench\"\nsha256 = \"{}\"\nscopes = [\"events:write\"]\n",
        key.hash()
    )
}

/// How long one look takes among this many keys, its hash included.
fn look_among(number: usize) -> Result<Duration, Failure> {
    let mut keys = Vec::with_capacity(number);
    for _ in 0..number {
        keys.push(Key::generate().map_err(anyhow::Error::from)?);
    }
    let known: Result<Vec<KnownKey>, String> = keys.iter().map(known).collect();
    let ring = Keyring::new(&known.map_err(anyhow::Error::msg)?);
    let begun = Instant::now();
    let found = keys
        .iter()
        .filter(|key| black_box(ring.find(&key.hash())).is_key())
        .count();
    let took = begun.elapsed();
    if found != number {
        return Err(anyhow!("{found} of {number} keys were found").into());
    }
    Ok(took / u32::try_from(number).unwrap_or(u32::MAX))
}

fn known(key: &Key) -> Result<KnownKey, String> {
    Ok(KnownKey {
        name: "bench".parse()?,
        hash: key.hash(),
        scopes: Scopes(vec![Scope::Write("#".to_owned())]),
        rate: None,
        burst: None,
        networks: Vec::new(),
        expires_at: None,
    })
}
