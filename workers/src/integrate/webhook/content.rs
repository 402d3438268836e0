//! The body of a webhook's requests: the event, its data, or a filled template.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use common::canonical;
use common::config::{self, WebhookBody};
use common::confirmation::ConfirmationLinks;
use common::event::CloudEvent;
use common::event::media::MediaType;
use common::message::CLOUDEVENTS_JSON;
use common::outcome::Failure;
use common::reason::ReasonCode;
use common::runtime::Received;
use http::HeaderValue;
use serde::de::IgnoredAny;

use crate::integrate::template::{Escaping, Template, event};

/// The media type of a filled template, unless another is configured.
const JSON: &str = "application/json";
/// The media type of bytes of which nothing is known.
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// How the body of a request is made.
pub(super) enum Content {
    /// The event, as it is.
    Event { media_type: HeaderValue },
    /// Its data alone; unless a media type is configured, the event's own.
    Data { media_type: Option<HeaderValue> },
    /// A template that is filled with the event.
    Template {
        template: Box<Template>,
        media_type: HeaderValue,
        is_json: bool,
        confirmations: Option<ConfirmationLinks>,
    },
}

/// The body of one request.
pub(super) struct Payload {
    pub(super) body: Bytes,
    pub(super) media_type: Option<HeaderValue>,
}

impl Content {
    /// As configured. Templates may name the links of `confirmations`.
    ///
    /// # Errors
    /// The template cannot be used.
    pub(super) fn new(
        webhook: &config::Webhook,
        confirmations: Option<ConfirmationLinks>,
    ) -> Result<Self, String> {
        let configured = webhook.content_type.as_deref();
        let header = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| {
                format!("expected a media type in webhook.content_type, found {text:?}")
            })
        };
        Ok(match &webhook.body {
            WebhookBody::Event => Self::Event {
                media_type: header(configured.unwrap_or(CLOUDEVENTS_JSON))?,
            },
            WebhookBody::Data => Self::Data {
                media_type: configured.map(header).transpose()?,
            },
            WebhookBody::Template(file) => {
                let media_type = configured.unwrap_or(JSON);
                let escaping = escaping(media_type);
                let name = file.path.display().to_string();
                let template = Template::parse(&name, file.source.clone(), escaping)
                    .and_then(|template| template.with_links(confirmations.is_some()))
                    .map_err(|error| error.to_string())?;
                Self::Template {
                    template: Box::new(template),
                    media_type: header(media_type)?,
                    is_json: escaping == Escaping::Json,
                    confirmations,
                }
            }
        })
    }

    /// The body for an event.
    ///
    /// # Errors
    /// None can be made, now or later.
    pub(super) fn payload(&self, received: &Received) -> Result<Payload, Failure> {
        let event = &received.message.body;
        match self {
            Self::Event { media_type } => Ok(Payload {
                body: event.clone(),
                media_type: Some(media_type.clone()),
            }),
            Self::Data { media_type } => {
                let payload = data(canonical::read(received)?.event)?;
                Ok(Payload {
                    media_type: media_type.clone().or(payload.media_type),
                    ..payload
                })
            }
            Self::Template {
                template,
                media_type,
                is_json,
                confirmations,
            } => Ok(Payload {
                body: fill(template, received, *is_json, confirmations.as_ref())?.into(),
                media_type: Some(media_type.clone()),
            }),
        }
    }
}

fn escaping(media_type: &str) -> Escaping {
    let media = MediaType::read(media_type);
    let essence = media.essence();
    if media.is_json() {
        return Escaping::Json;
    }
    let is_markup =
        essence == "text/html" || essence.ends_with("/xml") || essence.ends_with("+xml");
    if is_markup {
        Escaping::Html
    } else {
        Escaping::None
    }
}

/// The data of an event as bytes, with the media type that the event gives it. Without data: nothing.
fn data(event: CloudEvent) -> Result<Payload, Failure> {
    let named = event.datacontenttype.as_deref();
    let media_type = named.and_then(|text| HeaderValue::from_str(text).ok());
    if let Some(encoded) = &event.data_base64 {
        let body = STANDARD.decode(encoded).map_err(|_| {
            let error = "expected base64 in `data_base64`, found another text";
            Failure::new(ReasonCode::Undecodable, error.to_owned())
        })?;
        return Ok(Payload {
            body: body.into(),
            media_type: Some(media_type.unwrap_or(BYTES)),
        });
    }
    let Some(data) = event.data else {
        return Ok(Payload {
            body: Bytes::new(),
            media_type,
        });
    };
    let is_json = named.is_none_or(|text| MediaType::read(text).is_json());
    let text = (!is_json).then(|| serde_json::from_str::<String>(data.get()).ok());
    Ok(match text.flatten() {
        Some(text) => Payload {
            body: text.into(),
            media_type: Some(media_type.unwrap_or(BYTES)),
        },
        None => Payload {
            body: Box::<str>::from(data).into_string().into(),
            media_type: media_type.or(Some(HeaderValue::from_static(JSON))),
        },
    })
}

/// A template, filled with an event.
fn fill(
    template: &Template,
    received: &Received,
    is_json: bool,
    confirmations: Option<&ConfirmationLinks>,
) -> Result<String, Failure> {
    let members = event::values(&received.message.body, received.event(), confirmations)?;
    let failed = |error: String| Failure::new(ReasonCode::TemplateFailed, error);
    let text = template
        .render(&members)
        .map_err(|error| failed(error.to_string()))?;
    if is_json && let Err(error) = serde_json::from_str::<IgnoredAny>(&text) {
        // Its own message repeats nothing of the text but the place.
        return Err(failed(format!(
            "template {}: expected JSON, found another text at line {}, column {} of what it makes",
            template.name(),
            error.line(),
            error.column()
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
