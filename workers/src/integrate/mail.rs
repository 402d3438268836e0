//! Mail: an event as a message through a mail server, by templates.
//!
//! A mail goes to one recipient, so the server's answer is that recipient's. A connection that is lost after the
//! content was sent leaves open whether the server has the mail. It is then sent again, with the same `Message-ID`.

mod connect;
mod conversation;
mod letter;
mod line;
mod pool;
mod reply;
mod words;

use std::time::Duration;

use async_trait::async_trait;
use common::config::{Destination, Protection, Smtp};
use common::confirmation::ConfirmationLinks;
use common::outcome::Failure;
use common::reason::ReasonCode;
use common::telemetry::trace;
use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use self::connect::{Connector, NoConversation};
use self::conversation::{Login, Reached, Stop};
use self::letter::{Letter, Occasion, Stationery};
use self::pool::Pool;
use self::reply::{Reply, verdict};
use super::guard::Guard;
use super::preview::{Preview, RequestLine};
use super::template::event;
use super::transport::{Means, Parcel, Sent, Transport, Verdict};

/// Maximum of a reply's text that is kept, in bytes.
const MAX_EXCERPT: usize = 1024;
/// Maximum of the time in which a kept connection must show that it still lives; a third of the destination's timeout
/// where that is shorter.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// The code of a server that has reset a conversation (RFC 5321, 4.2.3).
const RESET: u16 = 250;

/// Mail through one server.
pub(super) struct Mail {
    stationery: Stationery,
    confirmations: Option<ConfirmationLinks>,
    connector: Connector,
    pool: Pool,
    timeout: Duration,
}

/// A mail that the server took.
struct Taken {
    /// The code of its reply.
    code: u16,
    /// It was sent over a second connection.
    again: bool,
}

/// A mail that the server did not take.
struct Unsent {
    why: NoConversation,
    /// It was sent over a second connection.
    again: bool,
}

impl Mail {
    /// Mail for a destination.
    ///
    /// # Errors
    /// A template or a certificate cannot be used.
    pub(super) fn new(
        destination: &Destination,
        smtp: &Smtp,
        means: Means,
    ) -> Result<Self, String> {
        let login = smtp.server.user.clone().zip(smtp.password.clone());
        let guard = Guard::of_mail(smtp.protection != Protection::None, means.allow);
        let connector = Connector::new(
            smtp.server.clone(),
            smtp.protection.clone(),
            login.map(|(user, password)| Login { user, password }),
            guard,
            destination.timeout,
        )
        .map_err(|error| format!("the TLS of its mail server: {error}"))?;
        Ok(Self {
            stationery: Stationery::read(&destination.name, smtp, means.confirmations.is_some())?,
            confirmations: means.confirmations,
            connector,
            pool: Pool::new(destination.concurrency),
            timeout: destination.timeout,
        })
    }

    /// The span of one mail.
    fn span(&self) -> Span {
        let server = self.connector.server();
        tracing::trace_span!(
            target: trace::TARGET,
            "send mail",
            otel.kind = "client",
            otel.status_code = Empty,
            error.type = Empty,
            server.address = %server.host,
            server.port = server.port,
        )
    }

    fn letter(&self, parcel: Parcel<'_>) -> Result<Letter, Failure> {
        let event = &parcel.received.message.body;
        let values = event::values(event, Some(parcel.event), self.confirmations.as_ref())?;
        let occasion = Occasion {
            id: parcel.id,
            event: parcel.event,
            at: parcel.at,
        };
        self.stationery.compose(occasion, &values)
    }

    /// Sends a mail, over a kept connection where there is one.
    async fn post(&self, letter: &Letter) -> Result<Taken, Unsent> {
        let mut again = false;
        while let Some(mut kept) = self.pool.take() {
            let limit = CHECK_TIMEOUT.min(self.timeout / 3);
            let check = tokio::time::timeout(limit, kept.conversation.reset());
            match check.await {
                Ok(true) => {}
                // The server has closed it, and maybe not the others.
                Ok(false) => continue,
                Err(_) => {
                    self.pool.clear();
                    break;
                }
            }
            let sent = kept.conversation.send(letter).await;
            let born = kept.born();
            match sent {
                Err((stop, Reached::Envelope)) if is_gone(&stop) => {
                    tracing::debug!(
                        "the connection was given up: sending once more over a new one"
                    );
                    again = true;
                    break;
                }
                sent => {
                    self.pool.keep(kept.conversation, born);
                    return concluded(sent, again);
                }
            }
        }
        let unsent = |why| Unsent { why, again };
        let born = Instant::now();
        let mut conversation = self.connector.connect().await.map_err(unsent)?;
        let sent = conversation.send(letter).await;
        self.pool.keep(conversation, born);
        concluded(sent, again)
    }
}

/// The end of a mail's way.
fn concluded(sent: Result<u16, (Stop, Reached)>, again: bool) -> Result<Taken, Unsent> {
    match sent {
        Ok(code) => Ok(Taken { code, again }),
        Err((stop, _)) => Err(Unsent {
            why: stop.into(),
            again,
        }),
    }
}

/// Whether the server gave the connection up, rather than this mail.
fn is_gone(stop: &Stop) -> bool {
    match stop {
        Stop::Broken(_) => true,
        Stop::Refused { reply, .. } => reply.code == 421,
        Stop::Unwelcome { .. } | Stop::NoInternationalMail => false,
    }
}

#[async_trait]
impl Transport for Mail {
    async fn send(&self, parcel: Parcel<'_>) -> Sent {
        let letter = match self.letter(parcel) {
            Ok(letter) => letter,
            Err(failure) => return Sent::not_made(failure),
        };
        let span = self.span();
        let posting = tokio::time::timeout(self.timeout, self.post(&letter));
        match posting.instrument(span.clone()).await {
            Ok(Ok(Taken { code, again })) => Sent {
                status: Some(code),
                again,
                ..unwritten(Verdict::Delivered)
            },
            Ok(Err(Unsent { why, again })) => {
                let sent = unsent(why);
                match sent.status {
                    Some(status) => trace::failed(&span, &status.to_string()),
                    None => trace::failed(&span, "connection_error"),
                }
                Sent { again, ..sent }
            }
            Err(_) => {
                trace::failed(&span, "timeout");
                let error = format!(
                    "expected the mail server to take the mail within {:?}, found that it did not",
                    self.timeout
                );
                Sent::unanswered(ReasonCode::ReceiverFailing, error)
            }
        }
    }

    fn preview(&self, _: Parcel<'_>) -> Preview {
        let server = self.connector.server();
        let address = format!("{}:{}", server.host, server.port);
        Preview {
            lines: vec![RequestLine::new("server", address)],
            body: String::new(),
        }
    }

    /// Greets and logs in, and sends no mail.
    async fn ping(&self, _: Parcel<'_>) -> Sent {
        let greeting = async {
            let mut conversation = self.connector.connect().await?;
            let lives = conversation.reset().await;
            self.pool.keep(conversation, Instant::now());
            Ok(lives)
        };
        match tokio::time::timeout(self.timeout, greeting).await {
            Ok(Ok(true)) => Sent {
                status: Some(RESET),
                ..unwritten(Verdict::Delivered)
            },
            Ok(Err(why)) => unsent(why),
            Ok(Ok(false)) | Err(_) => {
                let error = format!(
                    "expected the mail server to answer within {:?}, found that it did not",
                    self.timeout
                );
                Sent::unanswered(ReasonCode::ReceiverFailing, error)
            }
        }
    }

    fn verdict_on(&self, status: u16, _: OffsetDateTime) -> Verdict {
        verdict(status)
    }
}

/// A result without a reply.
fn unwritten(verdict: Verdict) -> Sent {
    Sent {
        verdict,
        status: None,
        excerpt: None,
        again: false,
    }
}

/// The result of a mail that was not taken. The code of a reply is recorded where it means the same when it is read
/// again: a server that refuses the connection says nothing about the mail.
fn unsent(why: NoConversation) -> Sent {
    let stop = match why {
        NoConversation::Forbidden(error) => {
            return Sent::unanswered(ReasonCode::DestinationForbidden, error);
        }
        NoConversation::Stopped(stop) => stop,
    };
    match stop {
        Stop::Broken(broken) => Sent::unanswered(ReasonCode::ReceiverFailing, broken.to_string()),
        Stop::Refused { at, reply } => {
            let verdict = about(at, &reply, verdict(reply.code));
            answered(verdict, Some(reply.code), &reply)
        }
        Stop::Unwelcome { at, reply } => {
            let by_code = verdict(reply.code);
            let is_alike = matches!(by_code, Verdict::Later { .. });
            let error = format!(
                "expected the mail server to take {at}, found {}",
                reply.code
            );
            let later = Verdict::Later {
                after: None,
                failure: Failure::new(ReasonCode::ReceiverFailing, error),
            };
            answered(later, is_alike.then_some(reply.code), &reply)
        }
        Stop::NoInternationalMail => {
            let error = "expected a mail server that takes addresses beyond ASCII (SMTPUTF8), found one that does \
                         not: nothing was sent";
            let failure = Failure::new(ReasonCode::ReceiverRefused, error.to_owned());
            unwritten(Verdict::Never(failure))
        }
    }
}

fn answered(verdict: Verdict, status: Option<u16>, reply: &Reply) -> Sent {
    let mut text = reply.text();
    text.truncate(text.floor_char_boundary(MAX_EXCERPT));
    Sent {
        status,
        excerpt: Some(text).filter(|text| !text.is_empty()),
        ..unwritten(verdict)
    }
}

/// A verdict that names the refused command.
fn about(at: &str, reply: &Reply, verdict: Verdict) -> Verdict {
    let told = |failure: Failure| {
        let error = format!("expected a reply 2yz to {at}, found {}", reply.code);
        Failure::new(failure.code, error)
    };
    match verdict {
        Verdict::Delivered => Verdict::Delivered,
        Verdict::Later { after, failure } => Verdict::Later {
            after,
            failure: told(failure),
        },
        Verdict::Never(failure) => Verdict::Never(told(failure)),
        Verdict::NotMade(failure) => Verdict::NotMade(failure),
    }
}

#[cfg(test)]
mod tests;
