//! Reading a part of the history.

use common::broker::{Broker, BrokerError, HistoryEntry, HistoryStart};
use common::store::HistorySlice;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use time::{Duration, OffsetDateTime};

/// Entries come nearly in the order of their times. Behind so many in a row that are so much later than
/// the window none is expected that belongs to it.
const BEYOND: u32 = 10_000;
const MUCH_LATER: Duration = Duration::minutes(10);

/// From when to when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// Received then or later; from the oldest entry on unless set.
    pub(crate) from: Option<OffsetDateTime>,
    /// Received before; up to the newest entry unless set.
    pub(crate) to: Option<OffsetDateTime>,
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
pub(crate) struct Reader {
    entries: BoxStream<'static, Result<HistoryEntry, BrokerError>>,
    window: Window,
    /// When the last entry was received that tells.
    last: Option<OffsetDateTime>,
    beyond: u32,
}

impl Reader {
    /// Reads `window`, from behind `position` where one is given.
    ///
    /// # Errors
    /// The broker is out of reach or has no history.
    pub(crate) async fn open(
        broker: &dyn Broker,
        window: Window,
        position: Option<u64>,
    ) -> Result<Self, BrokerError> {
        let start = match (position, window.from) {
            (Some(position), _) => HistoryStart::Offset(position.saturating_add(1)),
            (None, Some(from)) => HistoryStart::Time(from),
            (None, None) => HistoryStart::First,
        };
        Ok(Self {
            entries: broker.history(start).await?.fuse().boxed(),
            window,
            last: None,
            beyond: 0,
        })
    }

    /// The next entry; `None` at the end of the window. An entry that does not tell when it was received
    /// has the time of the one before it.
    ///
    /// # Errors
    /// The broker went out of reach.
    pub(crate) async fn next(&mut self) -> Result<Option<HistoryEntry>, BrokerError> {
        while self.beyond < BEYOND
            && let Some(entry) = self.entries.next().await
        {
            let mut entry = entry?;
            entry.time = entry.time.or(self.last);
            self.last = entry.time;
            match (entry.time, self.window.to) {
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
        }
        Ok(None)
    }
}
