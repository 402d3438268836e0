//! Reading a part of the history.

use std::ops::Range;

use common::broker::{Broker, BrokerError, HistoryEntry, HistoryStart};
use common::event::{Logins, Trail};
use common::store::HistorySlice;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use time::{Duration, OffsetDateTime};

/// How many entries in a row that are much later than the window end it: entries come nearly in the order of
/// their times.
const BEYOND: u32 = 10_000;
const MUCH_LATER: Duration = Duration::minutes(10);

/// A window that ends longer ago than this has a place in the history at which it ends.
const PAST: Duration = Duration::seconds(5);

/// From when to when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// Received then or later; from the oldest entry on unless set.
    pub from: Option<OffsetDateTime>,
    /// Received before; up to the newest entry unless set.
    pub to: Option<OffsetDateTime>,
}

impl From<&HistorySlice> for Window {
    fn from(slice: &HistorySlice) -> Self {
        Self {
            from: Some(slice.from.0),
            to: Some(slice.to.0),
        }
    }
}

/// Reads the entries of a window, in order.
pub struct Reader {
    entries: BoxStream<'static, Result<HistoryEntry, BrokerError>>,
    window: Window,
    /// The logins whose word on when an entry was received is believed.
    logins: Logins,
    /// When the last entry was received that tells.
    last: Option<OffsetDateTime>,
    /// Where the window ends, for entries of which no time is known.
    end: Option<u64>,
    beyond: u32,
    passed_over: Vec<Range<u64>>,
}

impl Reader {
    /// Reads `window`, from behind `position` where one is given.
    ///
    /// # Errors
    /// The broker is out of reach or has no history.
    pub async fn open(
        broker: &dyn Broker,
        logins: &Logins,
        window: Window,
        position: Option<u64>,
    ) -> Result<Self, BrokerError> {
        let start = match (position, window.from) {
            (Some(position), _) => HistoryStart::Offset(position.saturating_add(1)),
            (None, Some(from)) => HistoryStart::Time(from),
            (None, None) => HistoryStart::First,
        };
        let end = match window.to {
            Some(to) if OffsetDateTime::now_utc() - to > PAST => {
                let mut behind = broker.history(HistoryStart::Time(to)).await?;
                behind.next().await.transpose()?.map(|entry| entry.offset)
            }
            _ => None,
        };
        Ok(Self {
            entries: broker.history(start).await?.fuse().boxed(),
            window,
            logins: logins.clone(),
            last: None,
            end,
            beyond: 0,
            passed_over: Vec::new(),
        })
    }

    /// When an entry was received, from a trusted source: our own door, which wrote it into the headers, or the engine.
    /// A foreign `timestamp` says when something happened, as its publisher likes.
    fn received_at(&self, entry: &HistoryEntry) -> Option<OffsetDateTime> {
        let ours = self.logins.trusts(entry.message.user_id.as_deref());
        ours.then(|| Trail::read(&entry.message.headers).received_at)
            .flatten()
            .or(entry.time)
    }

    /// The next entry; `None` at the end of the window. An entry of which nobody who is believed tells when it
    /// was received has the time of the one before it.
    ///
    /// # Errors
    /// The broker went out of reach.
    pub async fn next(&mut self) -> Result<Option<HistoryEntry>, BrokerError> {
        while self.beyond < BEYOND
            && let Some(entry) = self.entries.next().await
        {
            let mut entry = entry?;
            entry.time = self.received_at(&entry).or(self.last);
            self.last = entry.time;
            match (entry.time, self.window.to) {
                (None, Some(_)) if self.end.is_some_and(|end| entry.offset >= end) => {
                    self.beyond += 1;
                }
                (Some(time), Some(to)) if time >= to => {
                    let much_later = time - to > MUCH_LATER;
                    self.beyond = if much_later { self.beyond + 1 } else { 0 };
                }
                (time, _) => {
                    self.beyond = 0;
                    if time
                        .zip(self.window.from)
                        .is_none_or(|(time, from)| time >= from)
                    {
                        return Ok(Some(entry));
                    }
                }
            }
            self.pass_over(entry.offset);
        }
        Ok(None)
    }

    fn pass_over(&mut self, offset: u64) {
        match self.passed_over.last_mut() {
            Some(range) if range.end == offset => range.end += 1,
            _ => self.passed_over.push(offset..offset.saturating_add(1)),
        }
    }

    /// The places read so far outside the window, in order. Other skipped places have no entry: a broker numbers more
    /// than entries.
    pub fn passed_over(&self) -> &[Range<u64>] {
        &self.passed_over
    }
}
