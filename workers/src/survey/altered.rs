//! Entries that the history has in another spelling than their queue had: RabbitMQ's streams keep less of some
//! messages. Nothing is known of them by their own ids. Their dead letters are known by their entry keys, which
//! different messages may share. So letters are counted: each stands for as many entries as it has copies.

use std::collections::HashSet;
use std::ops::Range;

use common::bootstrap::Failure;
use common::store::Deaths;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::places::Place;
use super::spill::Line;
use super::{BATCH, Surveyor};

/// How much earlier than its entry a letter may be dated: by another machine's clock, or where the time of the
/// entry is that of the one before it.
const SLACK: Duration = Duration::minutes(2);

/// The place of each line, in order: dead or mended where there are letters enough for it, and nowhere otherwise.
/// Both `lines` and `entries`, all of the window that have these entry keys, are sorted by entry key and key.
/// `since` is the beginning of the window.
pub(super) async fn places(
    surveyor: &Surveyor<'_>,
    lines: &[Line],
    entries: &[Line],
    since: Option<OffsetDateTime>,
) -> Result<Vec<Place>, Failure> {
    let since = since.map_or(OffsetDateTime::UNIX_EPOCH, |since| since - SLACK);
    let watching = surveyor.store.watching();
    let groups: Vec<&[Line]> = lines
        .chunk_by(|one, next| one.entry == next.entry)
        .collect();
    let mut places = Vec::with_capacity(lines.len());
    for groups in groups.chunks(BATCH) {
        let keys: Vec<u128> = groups
            .iter()
            .filter_map(|it| Some(it.first()?.entry))
            .collect();
        // Letters that are known by the id of an entry are that entry's own.
        let own: HashSet<Uuid> = keys
            .iter()
            .flat_map(|key| &entries[having(entries, |line| line.entry.cmp(key))])
            .map(Line::letter)
            .collect();
        let own: Vec<Uuid> = own.into_iter().collect();
        let asked: Vec<Uuid> = keys.iter().map(|key| Uuid::from_u128(*key)).collect();
        let deaths = watching.deaths_by_entry(&asked, &own, since).await?;
        for (lines, mut deaths) in groups.iter().zip(deaths) {
            places.extend(lines.iter().map(|line| {
                let same = having(entries, |it| {
                    (it.entry, it.key).cmp(&(line.entry, line.key))
                });
                take(&mut deaths, same.len() as u64)
            }));
        }
    }
    Ok(places)
}

/// Where so many entries have come to, that are one line. Their letters stand for no others any more.
fn take(deaths: &mut Deaths, entries: u64) -> Place {
    if deaths.all() < entries {
        return Place::Nowhere(None);
    }
    let dead = deaths.dead.min(entries);
    deaths.dead -= dead;
    deaths.mended -= entries - dead;
    if dead > 0 { Place::Dead } else { Place::Mended }
}

/// Where those stand in a sorted list that compare as equal.
fn having(lines: &[Line], compare: impl Fn(&Line) -> std::cmp::Ordering) -> Range<usize> {
    let start = lines.partition_point(|line| compare(line).is_lt());
    let end = lines.partition_point(|line| compare(line).is_le());
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_stands_for_as_many_entries_as_it_has_copies() {
        let mut deaths = Deaths { dead: 2, mended: 1 };
        assert_eq!(take(&mut deaths, 1), Place::Dead);
        assert_eq!(take(&mut deaths, 3), Place::Nowhere(None), "one too many");
        assert_eq!(take(&mut deaths, 2), Place::Dead);
        assert_eq!(take(&mut deaths, 1), Place::Nowhere(None));
        let mut mended = Deaths { dead: 0, mended: 1 };
        assert_eq!(take(&mut mended, 1), Place::Mended);
        assert_eq!(mended.all(), 0);
    }
}
