//! A mail: the templates of a destination, filled with an event.

use std::path::{Path, PathBuf};

use common::config::{self, Smtp};
use common::event::{EventId, delivery_address};
use common::outcome::Failure;
use common::reason::ReasonCode;
use lettre::Address;
use lettre::message::header::{HeaderName, HeaderValue, ReplyTo};
use lettre::message::{Mailbox, Message, MessageBuilder, MultiPart, SinglePart};
use minijinja::Value;
use time::OffsetDateTime;
use url::Url;

use super::words::encoded;
use crate::integrate::template::{Escaping, MAX_SOURCE, Template, TemplateError};

/// Maximum length of a subject, in bytes: with it, a line of a header stays below the 998 bytes that servers take.
const MAX_SUBJECT: usize = 900;
/// Maximum length of a URL that ends a subscription, in bytes.
const MAX_UNSUBSCRIBE: usize = 900;

/// Everything that mails of one destination are made of.
pub(super) struct Stationery {
    /// The destination's name, a part of the mails' ids.
    destination: String,
    from: config::Mailbox,
    reply_to: Option<Mailbox>,
    to: Option<Template>,
    list_unsubscribe: Option<Template>,
    subject: Template,
    body: Body,
}

/// The templates of the text: one or both, plain text first.
enum Body {
    Text(Template),
    Html(Template),
    Both(Box<[Template; 2]>),
}

/// A mail ready to be sent.
#[derive(Debug)]
pub(super) struct Letter {
    /// The sender's address.
    pub(super) from: String,
    /// The recipient's address.
    pub(super) to: String,
    /// One of the addresses is not ASCII.
    pub(super) is_international: bool,
    /// Headers and body.
    pub(super) content: Vec<u8>,
}

/// The delivery that a mail is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Occasion<'d> {
    /// The receiver's key for it, the same in every attempt and replay.
    pub(super) id: &'d str,
    pub(super) event: EventId,
    /// When the attempt began.
    pub(super) at: OffsetDateTime,
}

impl Stationery {
    /// Reads the templates. They may name a link that confirms a signup where `has_links`.
    ///
    /// # Errors
    /// A template is missing, or does not follow the language. The text names file and line.
    pub(super) fn read(destination: &str, smtp: &Smtp, has_links: bool) -> Result<Self, String> {
        let in_place = |key: &str, source: &Option<String>| {
            let parse = |source: &String| {
                Template::parse(key, source.clone(), Escaping::None)?.with_links(has_links)
            };
            let parsed = source.as_ref().map(parse).transpose();
            parsed.map_err(|error| error.to_string())
        };
        let file = |ending: &str, escaping: Escaping| {
            let read = read(&smtp.template, ending, escaping)?;
            let linked = read.map(|template| template.with_links(has_links));
            linked.transpose().map_err(|error| error.to_string())
        };
        let subject = file("subject", Escaping::None)?;
        let text = file("txt", Escaping::None)?;
        let html = file("html", Escaping::Html)?;
        let missing = |endings: &str| {
            format!(
                "expected the template {}{endings}, found no such file",
                smtp.template.display()
            )
        };
        Ok(Self {
            destination: destination.to_owned(),
            from: smtp.from.clone(),
            reply_to: smtp.reply_to.as_ref().map(mailbox),
            to: in_place("smtp.to", &smtp.to)?,
            list_unsubscribe: in_place("smtp.list_unsubscribe", &smtp.list_unsubscribe)?,
            subject: subject.ok_or_else(|| missing(".subject"))?,
            body: match (text, html) {
                (Some(text), Some(html)) => Body::Both(Box::new([text, html])),
                (Some(text), None) => Body::Text(text),
                (None, Some(html)) => Body::Html(html),
                (None, None) => return Err(missing(".txt or .html")),
            },
        })
    }

    /// The mail about an event; `values` are the members that templates can name.
    ///
    /// # Errors
    /// The event cannot fill a template, or the recipient has no address.
    pub(super) fn compose(
        &self,
        occasion: Occasion<'_>,
        values: &Value,
    ) -> Result<Letter, Failure> {
        let to = self.recipient(values)?;
        let from = self.from.address.clone();
        let message = self
            .headers(occasion, values)?
            .to(Mailbox::new(None, address_of(&to)));
        let message = match &self.body {
            Body::Text(text) => message.singlepart(SinglePart::plain(content(text, values)?)),
            Body::Html(html) => message.singlepart(SinglePart::html(content(html, values)?)),
            Body::Both(both) => {
                let [text, html] = &**both;
                message.multipart(MultiPart::alternative_plain_html(
                    content(text, values)?,
                    content(html, values)?,
                ))
            }
        };
        let message = message.map_err(|error| unfilled(format!("no mail can be made: {error}")))?;
        Ok(Letter {
            is_international: !(to.is_ascii() && from.is_ascii()),
            from,
            to,
            content: message.formatted(),
        })
    }

    fn recipient(&self, values: &Value) -> Result<String, Failure> {
        let filled;
        let to = match &self.to {
            Some(to) => {
                filled = fill(to, values)?;
                filled.trim()
            }
            None => {
                let data = values.get_attr("data");
                let email = data.and_then(|data| data.get_attr("email")).ok();
                filled = email
                    .and_then(|email| email.as_str().map(str::to_owned))
                    .ok_or_else(|| {
                        unfilled(
                            "expected a text in data.email, found none: set smtp.to".to_owned(),
                        )
                    })?;
                &filled
            }
        };
        delivery_address(to).map_err(|_| {
            let error = "expected the e-mail address of one recipient, found another text: nothing was sent";
            Failure::new(ReasonCode::ReceiverRefused, error.to_owned())
        })
    }

    /// All headers but the recipient's and those of the body.
    fn headers(&self, occasion: Occasion<'_>, values: &Value) -> Result<MessageBuilder, Failure> {
        let Occasion { id, event, at } = occasion;
        // Two destinations may write to one recipient about one event: these are two mails.
        let id = format!("<{id}.{}@{}>", self.destination, self.from.domain());
        let mut message = Message::builder()
            .raw_header(header("Message-ID", id))
            .date(at.into())
            .from(mailbox(&self.from))
            .raw_header(subject(&fill(&self.subject, values)?)?)
            .raw_header(header("Auto-Submitted", "auto-generated".to_owned()))
            .raw_header(header("Longshore-Event-Id", event.to_string()));
        if let Some(reply_to) = &self.reply_to {
            message = message.header(ReplyTo::from(lettre::message::Mailboxes::from(
                reply_to.clone(),
            )));
        }
        if let Some(template) = &self.list_unsubscribe {
            let url = unsubscribe(&fill(template, values)?)?;
            let is_one_click = url.scheme() == "https";
            message = message.raw_header(header("List-Unsubscribe", format!("<{url}>")));
            if is_one_click {
                let post = "List-Unsubscribe=One-Click".to_owned();
                message = message.raw_header(header("List-Unsubscribe-Post", post));
            }
        }
        Ok(message)
    }
}

/// Reads one file of a template, if there is one.
fn read(template: &Path, ending: &str, escaping: Escaping) -> Result<Option<Template>, String> {
    let mut path = template.as_os_str().to_owned();
    path.push(".");
    path.push(ending);
    let path = PathBuf::from(path);
    let name = path.display().to_string();
    let unreadable =
        |error: &dyn std::fmt::Display| format!("expected the template {name}: {error}");
    let size = match std::fs::metadata(&path) {
        Ok(file) => file.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&error)),
    };
    if size > MAX_SOURCE as u64 {
        return Err(format!(
            "template {name}: expected up to {MAX_SOURCE} bytes, found {size}"
        ));
    }
    let source = std::fs::read_to_string(&path).map_err(|error| unreadable(&error))?;
    let template = Template::parse(&name, source, escaping);
    template.map(Some).map_err(|error| error.to_string())
}

fn fill(template: &Template, values: &Value) -> Result<String, Failure> {
    let filled = template.render(values);
    filled.map_err(|error: TemplateError| unfilled(error.to_string()))
}

/// A filled text whose lines end in one way. A carriage return by itself must not be in a mail (RFC 5322, 2.3): servers
/// disagree whether it ends a line.
fn content(template: &Template, values: &Value) -> Result<String, Failure> {
    let text = fill(template, values)?;
    Ok(text.replace("\r\n", "\n").replace('\r', "\n"))
}

fn unfilled(error: String) -> Failure {
    Failure::new(ReasonCode::TemplateFailed, error)
}

/// A header whose text is ASCII and of one line.
fn header(name: &'static str, text: String) -> HeaderValue {
    let name = HeaderName::new_from_ascii_str(name);
    HeaderValue::dangerous_new_pre_encoded(name, text.clone(), text)
}

/// The subject: one line, whatever an event has in it.
fn subject(text: &str) -> Result<HeaderValue, Failure> {
    let is_gap = |letter: char| letter.is_control() || letter.is_whitespace();
    let words: Vec<&str> = text.split(is_gap).filter(|word| !word.is_empty()).collect();
    let line = words.join(" ");
    if line.len() > MAX_SUBJECT {
        return Err(unfilled(format!(
            "expected a subject of up to {MAX_SUBJECT} bytes, found {}",
            line.len()
        )));
    }
    let name = HeaderName::new_from_ascii_str("Subject");
    let encoded = encoded(&line);
    Ok(HeaderValue::dangerous_new_pre_encoded(name, line, encoded))
}

/// The URL that ends a subscription (RFC 2369, 8058).
fn unsubscribe(text: &str) -> Result<Url, Failure> {
    let expected = "smtp.list_unsubscribe: expected an https: or a mailto: URL";
    let url: Url = text
        .trim()
        .parse()
        .map_err(|error| unfilled(format!("{expected}, found none: {error}")))?;
    let is_known = matches!(url.scheme(), "https" | "mailto");
    // In the header, angle brackets end the URL and commas divide URLs.
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b',');
    if !is_known || url.as_str().len() > MAX_UNSUBSCRIBE || !url.as_str().bytes().all(is_plain) {
        return Err(unfilled(format!("{expected}, found another one")));
    }
    Ok(url)
}

fn mailbox(mailbox: &config::Mailbox) -> Mailbox {
    Mailbox::new(mailbox.name.clone(), address_of(&mailbox.address))
}

/// An address by our own rule, which is stricter.
fn address_of(text: &str) -> Address {
    let (local, domain) = text.rsplit_once('@').unwrap_or((text, ""));
    Address::new_dangerous(local, domain)
}

#[cfg(test)]
mod tests;
