//! A connection that is kept up: opened on first use, watched, and opened again when it breaks.
//!
//! lapin's own recovery stays off: after its last attempt it waits forever, and it does not bring back channels that
//! the broker closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::types::LongString;
use lapin::{Channel, Connection, ConnectionProperties, Event};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::explain::{Fault, within, words};
use super::settings::{FRAME_MAX, Settings};
use super::wire::{self, BodyLimits};
use crate::broker::BrokerError;
use crate::retry::Waits;
use crate::tasks;
use crate::telemetry::metrics;

/// The first and the longest wait before the connection is tried again. A connection that held
/// longer than the longest starts over with the first.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How often to look whether a connection still says that it is up, in case the news was missed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How many bytes of a header frame are not properties: frame, class, weight, size of the body, flags.
const FRAME_OVERHEAD: usize = 8 + 2 + 2 + 8 + 2;

/// How a connection stands.
#[derive(Debug, Clone)]
enum State {
    /// The first attempt is not over.
    Connecting,
    /// It is there.
    Up {
        connection: Arc<Connection>,
        /// How large bodies may be on it.
        limits: Arc<BodyLimits>,
        /// Why the broker takes no messages, while it does not.
        blocked: Option<String>,
    },
    /// It is not there; attempts go on.
    Down(BrokerError),
}

/// One supervised connection.
#[derive(Debug)]
pub(super) struct Link {
    /// How it connects.
    pub(super) settings: Arc<Settings>,
    /// Its purpose, for operators.
    purpose: &'static str,
    state: watch::Sender<State>,
    started: AtomicBool,
    /// The frame size that was agreed on with the broker last.
    frame_max: AtomicU32,
    /// The connection is worn and to be replaced, see [`Link::channel`].
    worn: Notify,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Link {
    /// A connection that is not opened before it is needed. It lives until `closing`.
    pub(super) fn new(
        settings: Arc<Settings>,
        purpose: &'static str,
        closing: CancellationToken,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        Arc::new(Self {
            settings,
            purpose,
            state: watch::Sender::new(State::Connecting),
            started: AtomicBool::new(false),
            frame_max: AtomicU32::new(FRAME_MAX),
            worn: Notify::new(),
            closing,
            tasks,
        })
    }

    /// The connection, or the reason for its absence. Waits for the first attempt, but for no later
    /// one.
    async fn connection(self: &Arc<Self>) -> Result<Arc<Connection>, BrokerError> {
        // The usual case, and asked for each message: no need to wait for anything.
        if let State::Up { connection, .. } = &*self.state.borrow() {
            return Ok(Arc::clone(connection));
        }
        if !self.started.swap(true, Ordering::Relaxed) {
            let (supervise, closing) = (Arc::clone(self).supervise(), self.closing.clone());
            self.tasks.spawn(tasks::supervised_until(
                "broker connection",
                closing,
                supervise,
            ));
        }
        let mut states = self.state.subscribe();
        let verdict = states.wait_for(|state| !matches!(state, State::Connecting));
        match tokio::time::timeout(self.settings.patience * 2, verdict).await {
            Ok(Ok(state)) => match &*state {
                State::Up { connection, .. } => Ok(Arc::clone(connection)),
                State::Down(error) => Err(error.clone()),
                State::Connecting => Err(self.unreachable("still connecting")),
            },
            Ok(Err(_)) | Err(_) => Err(self.unreachable("still connecting")),
        }
    }

    /// Maximum bytes of properties and headers of a message published on it: the room in one frame of the agreed size,
    /// less the broker's additions when it dead-letters.
    ///
    /// # Errors
    /// The size is agreed with the connection, and the broker cannot be reached.
    pub(super) async fn header_room(self: &Arc<Self>) -> Result<usize, BrokerError> {
        self.connection().await?;
        let frame = match self.frame_max.load(Ordering::Relaxed) {
            // The broker sets no bound.
            0 => FRAME_MAX,
            frame => frame.min(FRAME_MAX),
        };
        let user = self.settings.user.as_ref().map_or(0, String::len);
        let frame = usize::try_from(frame).unwrap_or_default();
        Ok((frame - frame / 4).saturating_sub(FRAME_OVERHEAD + 1 + user))
    }

    /// Whether a publish would be taken now: connected and not blocked.
    pub(super) async fn usable(self: &Arc<Self>) -> Result<(), BrokerError> {
        self.connection().await?;
        match self.blocked() {
            Some(reason) => Err(BrokerError::Blocked(reason)),
            None => Ok(()),
        }
    }

    /// Why the broker takes no messages on this connection, while it does not.
    pub(super) fn blocked(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Up { blocked, .. } => blocked.clone(),
            _ => None,
        }
    }

    /// A new channel on which nothing larger than `limit` bytes is delivered whole.
    pub(super) async fn channel_with_limit(
        self: &Arc<Self>,
        limit: usize,
    ) -> Result<Channel, BrokerError> {
        let channel = self.channel().await?;
        if let State::Up { limits, .. } = &*self.state.borrow() {
            limits.set(channel.id(), limit);
        }
        Ok(channel)
    }

    /// A new channel.
    pub(super) async fn channel(self: &Arc<Self>) -> Result<Channel, BrokerError> {
        let connection = self.connection().await?;
        let open = connection.create_channel();
        let channel = within(self.settings.patience, "opening a channel", open).await?;
        // lapin refuses a channel number for good after the broker closed a channel that had it, and
        // numbers come round again. A new connection takes over long before; channels in use on the
        // old one keep it alive until they are done.
        if channel.id() > connection.configuration().channel_max() / 4 * 3 {
            self.worn.notify_one();
        }
        Ok(channel)
    }

    fn unreachable(&self, detail: &str) -> BrokerError {
        BrokerError::Unreachable {
            address: self.settings.address.clone(),
            detail: detail.to_owned(),
        }
    }

    async fn supervise(self: Arc<Self>) {
        let address = self.settings.address.as_str();
        let purpose = self.purpose;
        let mut waits = Waits::between(FIRST_WAIT, LONGEST_WAIT);
        let mut reported = false;
        loop {
            let attempt = tokio::select! {
                () = self.closing.cancelled() => break,
                attempt = self.connect() => attempt,
            };
            match attempt {
                Ok((connection, limits)) => {
                    reported = false;
                    let since = Instant::now();
                    tracing::info!(
                        broker.address = address,
                        broker.connection = purpose,
                        "connected to the broker"
                    );
                    metrics::connected(purpose, true);
                    match self.watch(Arc::new(connection), limits).await {
                        End::Closing => break,
                        End::Worn => continue,
                        End::Lost(detail) => {
                            metrics::connected(purpose, false);
                            tracing::warn!(
                                broker.address = address,
                                broker.connection = purpose,
                                error = detail,
                                "lost the connection to the broker, connecting again"
                            );
                            let detail = format!("the connection broke: {detail}");
                            self.state
                                .send_replace(State::Down(self.unreachable(&detail)));
                        }
                    }
                    if since.elapsed() > LONGEST_WAIT {
                        waits.reset();
                    }
                }
                Err(error) => {
                    if !reported {
                        tracing::warn!(
                            broker.address = address,
                            broker.connection = purpose,
                            %error,
                            "cannot connect to the broker, trying until it works"
                        );
                        reported = true;
                    }
                    self.state.send_replace(State::Down(error));
                }
            }
            tokio::select! {
                () = self.closing.cancelled() => break,
                () = tokio::time::sleep(waits.next_wait()) => {}
            }
        }
        self.say_goodbye().await;
    }

    /// Closes the connection, if it is there, for good.
    async fn say_goodbye(&self) {
        let closed = State::Down(self.unreachable("this program has closed the connection"));
        if let State::Up { connection, .. } = self.state.send_replace(closed) {
            let close = connection.close(200, "closing".into());
            if let Err(fault) =
                within(self.settings.patience, "closing the connection", close).await
            {
                tracing::debug!(
                    broker.address = self.settings.address.as_str(),
                    broker.connection = self.purpose,
                    error = fault.words(),
                    "could not say goodbye to the broker"
                );
            }
        }
    }

    async fn connect(&self) -> Result<(Connection, Arc<BodyLimits>), BrokerError> {
        let settings = &self.settings;
        let name = format!("{} ({})", settings.name, self.purpose);
        let properties = ConnectionProperties::default()
            .with_connection_name(LongString::from(name))
            .with_client_property("product".into(), LongString::from("longshore"))
            .with_client_property(
                "version".into(),
                LongString::from(env!("CARGO_PKG_VERSION")),
            );
        let limits = BodyLimits::new(settings.body_limit);
        let connect = wire::connect(settings, properties, Arc::clone(&limits));
        let connection = match within(settings.patience, "connecting", connect).await {
            Ok(connection) => connection,
            Err(fault) => return Err(self.reason(fault).await),
        };
        let frame_max = connection.configuration().frame_max();
        self.frame_max.store(frame_max, Ordering::Relaxed);
        Ok((connection, limits))
    }

    /// Why there is no connection.
    async fn reason(&self, fault: Fault) -> BrokerError {
        if fault.is_cut()
            && let Some(told) = wire::last_word(&self.settings).await
        {
            return self.unreachable(&told);
        }
        match BrokerError::from(fault.clone()) {
            BrokerError::Refused(detail) => BrokerError::Refused(detail),
            _ => self.unreachable(&fault.words()),
        }
    }

    /// Publishes how the connection stands until it ends.
    async fn watch(&self, connection: Arc<Connection>, limits: Arc<BodyLimits>) -> End {
        // The only listener: lapin's listeners take events from each other.
        let mut events = std::pin::pin!(connection.events_listener());
        self.state.send_replace(State::Up {
            connection: Arc::clone(&connection),
            limits,
            blocked: None,
        });
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            let lost = tokio::select! {
                () = self.closing.cancelled() => return End::Closing,
                () = self.worn.notified() => return End::Worn,
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => {
                        self.set_blocked(Some(reason));
                        None
                    }
                    Some(Event::ConnectionUnblocked) => {
                        self.set_blocked(None);
                        None
                    }
                    Some(Event::Error(error)) => Some(words(&error)),
                    _ => None,
                },
                _ = look.tick() => Some("it was closed".to_owned()),
            };
            // Errors of single channels come this way too.
            if let Some(detail) = lost
                && !connection.status().connected()
            {
                return End::Lost(detail);
            }
        }
    }

    fn set_blocked(&self, reason: Option<String>) {
        let address = self.settings.address.as_str();
        match &reason {
            Some(reason) => tracing::warn!(
                broker.address = address,
                broker.connection = self.purpose,
                broker.reason = reason,
                "the broker takes no messages now"
            ),
            None => tracing::info!(
                broker.address = address,
                broker.connection = self.purpose,
                "the broker takes messages again"
            ),
        }
        metrics::blocked(reason.is_some());
        self.state.send_modify(|state| {
            if let State::Up { blocked, .. } = state {
                *blocked = reason;
            }
        });
    }
}

/// Why a connection is watched no longer.
enum End {
    Closing,
    Worn,
    Lost(String),
}

/// Closes a channel that is done with. Failing at that does not matter: the channel is gone then.
pub(super) async fn close_channel(channel: &Channel, patience: Duration) {
    if !channel.status().connected() {
        return;
    }
    let close = channel.close(200, "done".into());
    if let Err(fault) = within(patience, "closing a channel", close).await {
        tracing::debug!(error = fault.words(), "could not close a channel");
    }
}

/// Whether a fault has cost the channel it happened on.
pub(super) fn channel_is_gone(channel: &Channel, fault: &Fault) -> bool {
    fault.code().is_some() || !channel.status().connected()
}
