//! From checked data to the message that the broker gets.

use axum::http::{Extensions, HeaderMap};
use bytes::Bytes;
use common::broker::{Address, Publication};
use common::event::{
    CloudEvent, EventId, EventType, NOT_BEFORE, Publisher, Refused, Trail, Unfit, UnfitKind,
    header, now, to_rfc3339,
};
use common::message::{CLOUDEVENTS_JSON, Headers, Message};
use common::outcome::FieldError;
use common::reason::ReasonCode;
use common::telemetry::trace;
use common::topology::Fact;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use crate::auth::Grant;
use crate::door::Door;
use crate::json::{self, Wrong};
use crate::problem::{Code, Problem};
use crate::{idempotency, not_before};

/// The longest AMQP short string, in bytes; `app_id` is one.
const SHORT: usize = 255;

/// The properties that a request gives to each of its events.
pub(crate) struct Origin {
    /// What its sender may do.
    pub grant: Grant,
    /// Its sender, as a part of ids.
    pub caller: Publisher,
    /// When it came.
    pub at: OffsetDateTime,
    /// Trace context, as message headers.
    trace: Headers,
}

/// What the headers of a simple call ask for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked<'h> {
    /// The caller's own key for the event.
    key: Option<&'h str>,
    /// The moment before which nobody gets it.
    not_before: Option<&'h str>,
}

impl<'h> Asked<'h> {
    /// An event that is known by a key.
    pub(crate) fn with_key(key: &'h str) -> Self {
        Self {
            key: Some(key),
            not_before: None,
        }
    }

    /// Reads it off a request.
    ///
    /// # Errors
    /// A header is wrong.
    pub(crate) fn of(headers: &'h HeaderMap) -> Result<Self, Problem> {
        Ok(Self {
            key: idempotency::key(headers)?,
            not_before: not_before::of(headers)?,
        })
    }
}

/// An event that is fit to be published.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Our key for it.
    pub id: EventId,
    /// Its type.
    pub kind: String,
    /// The message for the broker.
    pub publication: Publication,
}

/// Why one event is not taken: the sender's to mend.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    /// The kind of error.
    pub code: Code,
    /// The error of each field, as pointers into the event.
    pub errors: Vec<FieldError>,
}

impl Origin {
    /// Reads it off a request.
    pub(crate) fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        let grant = Grant::of(extensions);
        Self::by(grant.publisher(), grant, headers)
    }

    /// The origin of a request that `caller` is known to have sent, and of what it may do.
    pub(crate) fn by(caller: Publisher, grant: Grant, headers: &HeaderMap) -> Self {
        let mut trace = trace_context(headers);
        trace::inject(&mut trace);
        Self {
            caller,
            grant,
            at: now(),
            trace,
        }
    }
}

/// The W3C trace context that came with a request; nothing where it is not valid.
pub(crate) fn trace_context(headers: &HeaderMap) -> Headers {
    let mut context = Headers::default();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(parent) = text(header::TRACEPARENT)
        && trace::from_traceparent(parent).is_some()
    {
        context.set(header::TRACEPARENT, parent);
        if let Some(state) = text(header::TRACESTATE).filter(|state| state.len() <= 512) {
            context.set(header::TRACESTATE, state);
        }
    }
    context
}

impl Admitted {
    /// An event that is born here: `data` (checked before) from the path `source`.
    ///
    /// # Errors
    /// It is too large, or its sender may not publish it.
    pub(crate) fn born(
        door: &Door,
        origin: &Origin,
        asked: Asked<'_>,
        (source, kind): (&'static str, &'static str),
        data: Box<RawValue>,
    ) -> Result<Self, Problem> {
        let id = match asked.key {
            Some(key) => EventId::from_key(&origin.caller, key),
            None => EventId::born(),
        };
        let mut event = CloudEvent::new(id.to_string(), source, kind, to_rfc3339(origin.at), data);
        if let Some(moment) = asked.not_before {
            event
                .extensions
                .insert(NOT_BEFORE.to_owned(), moment.into());
        }
        write(&event)
            .and_then(|body| Self::new(door, origin, id, &origin.grant.ourselves(), event, body))
            .map_err(Refusal::into_problem)
    }

    /// An event of the caller's own. `body` is its canonical form.
    ///
    /// # Errors
    /// It is too large, or its sender may not publish it.
    pub(crate) fn foreign(
        door: &Door,
        origin: &Origin,
        event: CloudEvent,
        body: Bytes,
    ) -> Result<Self, Refusal> {
        let id = EventId::derived(&origin.caller, &event.source, &event.id);
        Self::new(door, origin, id, &origin.caller, event, body)
    }

    /// The same with the password hash of the signup, sealed, beside it.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub(crate) fn with_password_hash(
        mut self,
        door: &Door,
        hash: Option<&SecretString>,
    ) -> Result<Self, Refusal> {
        if let Some(hash) = hash {
            let sealed = door.seal.seal(self.id, hash.expose_secret());
            let sealed = sealed.map_err(|error| {
                tracing::error!(%error, "a password hash could not be sealed");
                Refusal {
                    code: Code::Internal,
                    errors: Vec::new(),
                }
            })?;
            let headers = &mut self.publication.message.headers;
            headers.set(header::SEALED_PASSWORD_HASH, sealed);
        }
        Ok(self)
    }

    fn new(
        door: &Door,
        origin: &Origin,
        id: EventId,
        publisher: &Publisher,
        event: CloudEvent,
        body: Bytes,
    ) -> Result<Self, Refusal> {
        origin
            .grant
            .expect_write(&event.kind)
            .map_err(Refusal::forbidden)?;
        // The workers hold every event to this limit, so no larger event may pass the door.
        let limit = door.config.limits.event_bytes;
        if body.len() > limit {
            return Err(Refusal::too_large(limit, body.len()));
        }
        let mut headers = origin.trace.clone();
        let trail = Trail {
            publisher: Some(publisher.clone()),
            received_at: Some(origin.at),
            ..Trail::default()
        };
        trail.write(&mut headers);
        let message = Message {
            body,
            content_type: Some(CLOUDEVENTS_JSON.to_owned()),
            message_id: Some(id.to_string()),
            kind: Some(event.kind.clone()),
            app_id: Some(event.source).filter(|source| source.len() <= SHORT),
            timestamp: u64::try_from(origin.at.unix_timestamp()).ok(),
            headers,
            ..Message::default()
        };
        let to = Address::Fact {
            fact: Fact::Received,
            routing_key: event.kind.clone(),
        };
        Ok(Self {
            id,
            kind: event.kind,
            publication: Publication { to, message },
        })
    }
}

/// An event in its canonical form.
///
/// # Errors
/// None that input can cause.
pub(crate) fn write(event: &CloudEvent) -> Result<Bytes, Refusal> {
    written(serde_json::to_vec(event)).map(Bytes::from)
}

/// What was written of an event, or of its data.
///
/// # Errors
/// It could not be written, which no input can cause.
pub(crate) fn written<T>(text: serde_json::Result<T>) -> Result<T, Refusal> {
    text.map_err(|error| {
        tracing::error!(error.category = ?error.classify(), "an event could not be written");
        Refusal {
            code: Code::Internal,
            errors: Vec::new(),
        }
    })
}

/// Checks data that is written as JSON exactly as the validate worker does.
///
/// # Errors
/// Everything that is wrong, as pointers into the data.
pub(crate) fn check_text(door: &Door, kind: &str, data: &str) -> Result<(), Refusal> {
    let data = json::value(data.as_bytes()).map_err(|wrong| Refusal::wrong("", wrong))?;
    check(door, kind, &data)
}

/// Checks an event's data exactly as the validate worker does.
///
/// # Errors
/// Everything that is wrong, as pointers into the data.
pub(crate) fn check(door: &Door, kind: &str, data: &Value) -> Result<(), Refusal> {
    match door.types.check(kind, data) {
        Ok(()) => Ok(()),
        Err(Refused::Unknown) => Err(Refusal::unknown_type(door)),
        Err(Refused::Rejected(rejection)) => Err(Refusal {
            code: match rejection.code {
                ReasonCode::PlaintextPassword => Code::PlaintextPassword,
                _ => Code::Invalid,
            },
            errors: rejection.errors,
        }),
    }
}

impl From<Unfit> for Refusal {
    fn from(unfit: Unfit) -> Self {
        Self {
            code: match unfit.kind {
                UnfitKind::MediaType => Code::UnsupportedMediaType,
                UnfitKind::Malformed => Code::MalformedJson,
                UnfitKind::Invalid => Code::Invalid,
            },
            errors: unfit.errors,
        }
    }
}

impl Refusal {
    /// The event breaks rules.
    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        Self {
            code: Code::Invalid,
            errors,
        }
    }

    /// The text at `pointer` is wrong.
    pub(crate) fn wrong(pointer: &str, wrong: Wrong) -> Self {
        Unfit::wrong(pointer, wrong).into()
    }

    /// The key of the sender does not open this.
    pub(crate) fn forbidden(detail: String) -> Self {
        Self {
            code: Code::Forbidden,
            errors: vec![FieldError::new("/type", detail)],
        }
    }

    /// The event is over the limit on events.
    pub(crate) fn too_large(limit: usize, found: usize) -> Self {
        let detail = format!("expected an event of at most {limit} bytes, found {found}");
        Self {
            code: Code::TooLarge,
            errors: vec![FieldError::new("", detail)],
        }
    }

    /// Nobody has defined the event's type.
    pub(crate) fn unknown_type(door: &Door) -> Self {
        let known: Vec<_> = door.types.iter().take(20).map(EventType::name).collect();
        let detail = format!(
            "expected a known type ({}), found another",
            known.join(", ")
        );
        Self {
            code: Code::UnknownType,
            errors: vec![FieldError::new("/type", detail)],
        }
    }

    /// The same with every pointer below `prefix`.
    #[must_use]
    pub(crate) fn below(mut self, prefix: &str) -> Self {
        for error in &mut self.errors {
            error.pointer.insert_str(0, prefix);
        }
        self
    }

    /// The refusal as an answer.
    pub(crate) fn into_problem(self) -> Problem {
        let detail = match self.code {
            Code::MalformedJson => {
                "expected JSON in UTF-8, each name once in an object, nested at most 127 deep; \
                 `errors` says where it is not"
            }
            Code::Forbidden => {
                "expected a key that opens this, found one that does not; `errors` names the missing scope"
            }
            Code::Internal => "the event could not be written; nothing was taken",
            Code::TooLarge => "expected smaller events; `errors` says which are over the limit",
            Code::UnknownType => "expected a type that is built in or configured, found another",
            Code::PlaintextPassword => {
                "expected no password or other secret in the clear; a signup's password belongs \
                 in `password` of /v1/signups, which hashes it"
            }
            Code::UnsupportedMediaType => {
                "expected a media type that names the form of the data; `errors` lists the wrong places"
            }
            _ => {
                "expected data that follows its type's schema and rules; `errors` lists every \
                  field that does not"
            }
        };
        Problem::new(self.code, detail).with_errors(self.errors)
    }
}
