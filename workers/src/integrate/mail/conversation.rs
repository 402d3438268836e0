//! A conversation with a mail server, after it is connected and protected: greeting, login, mails (RFC 5321, 4954,
//! 6531).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::config::Secret;

use super::letter::Letter;
use super::line::{Broken, Line, Stream};
use super::reply::Reply;

/// A conversation that is ready for a mail.
pub(super) struct Conversation {
    line: Line,
    offers: Offers,
    /// No reply is outstanding, and the server did not say that it closes the connection.
    is_open: bool,
}

/// What a server can do, by its answer to `EHLO`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Offers {
    /// TLS on this connection.
    pub(super) starttls: bool,
    /// Addresses beyond ASCII.
    smtputf8: bool,
    /// The ways to log in, in upper case.
    logins: Vec<String>,
}

/// The user and the password of a mail server.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: Secret,
}

/// Why a mail was not sent.
#[derive(Debug)]
pub(super) enum Stop {
    /// No connection, or it was lost.
    Broken(Broken),
    /// The server does not want the connection or the login, whatever the mail.
    Unwelcome {
        /// The refused command.
        at: &'static str,
        /// Its reply.
        reply: Reply,
    },
    /// The server refuses the mail.
    Refused {
        /// The refused command.
        at: &'static str,
        /// Its reply.
        reply: Reply,
    },
    /// The server cannot take the recipient's address.
    NoInternationalMail,
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// How far a mail got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// The server has got no byte of the content.
    Envelope,
    /// The server may have it.
    Content,
}

/// Greets a server, and reads its offers. A server greets first, but for a second time after `STARTTLS`.
pub(super) async fn greet(line: &mut Line, name: &str, is_first: bool) -> Result<Offers, Stop> {
    if is_first {
        welcome("the greeting", line.reply().await?)?;
    }
    let reply = welcome("EHLO", line.command(&format!("EHLO {name}")).await?)?;
    Ok(Offers::of(&reply))
}

/// Asks for TLS, and gives the connection on which it begins.
pub(super) async fn start_tls(mut line: Line, offers: &Offers) -> Result<Box<dyn Stream>, Stop> {
    if !offers.starttls {
        return Err(Broken(
            "expected a mail server that offers STARTTLS, found one that does not; use smtps:// if it speaks TLS \
             from the start"
                .to_owned(),
        )
        .into());
    }
    welcome("STARTTLS", line.command("STARTTLS").await?)?;
    Ok(line.into_stream()?)
}

/// A reply that lets the conversation go on.
fn welcome(at: &'static str, reply: Reply) -> Result<Reply, Stop> {
    match reply.is_positive() {
        true => Ok(reply),
        false => Err(Stop::Unwelcome { at, reply }),
    }
}

impl Offers {
    fn of(reply: &Reply) -> Self {
        let mut offers = Self::default();
        // The first line greets.
        for line in reply.lines.iter().skip(1) {
            let line = line.to_ascii_uppercase();
            // Old servers write AUTH=PLAIN.
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            match words.next() {
                Some("STARTTLS") => offers.starttls = true,
                Some("SMTPUTF8") => offers.smtputf8 = true,
                Some("AUTH") => offers.logins.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        offers
    }

    fn can_log_in_by(&self, way: &str) -> bool {
        self.logins.iter().any(|offered| offered == way)
    }
}

impl Conversation {
    /// Logs in, if there is a login, and is ready then.
    pub(super) async fn begin(
        line: Line,
        offers: Offers,
        login: Option<&Login>,
    ) -> Result<Self, Stop> {
        let mut conversation = Self {
            line,
            offers,
            is_open: true,
        };
        if let Some(login) = login {
            conversation.log_in(login).await?;
        }
        Ok(conversation)
    }

    async fn log_in(&mut self, Login { user, password }: &Login) -> Result<(), Stop> {
        let password = password.expose();
        let reply = if self.offers.can_log_in_by("PLAIN") {
            let plain = STANDARD.encode(format!("\0{user}\0{password}"));
            let reply = self.line.command(&format!("AUTH PLAIN {plain}")).await?;
            match reply.code {
                334 => self.line.command(&plain).await?,
                _ => reply,
            }
        } else if self.offers.can_log_in_by("LOGIN") {
            let mut reply = self.line.command("AUTH LOGIN").await?;
            for answer in [user.as_str(), password] {
                if reply.code == 334 {
                    reply = self.line.command(&STANDARD.encode(answer)).await?;
                }
            }
            reply
        } else {
            let found = match self.offers.logins.is_empty() {
                true => "none".to_owned(),
                false => self.offers.logins.join(" "),
            };
            return Err(Broken(format!(
                "expected a mail server that offers AUTH PLAIN or LOGIN, found {found}"
            ))
            .into());
        };
        welcome("AUTH", reply).map(drop)
    }

    /// Sends a mail; the code of the reply to it. The error comes with how far the mail got.
    pub(super) async fn send(&mut self, letter: &Letter) -> Result<u16, (Stop, Reached)> {
        let before = |stop: Stop| (stop, Reached::Envelope);
        if letter.is_international && !self.offers.smtputf8 {
            return Err(before(Stop::NoInternationalMail));
        }
        let parameters = match letter.is_international {
            true => " BODY=8BITMIME SMTPUTF8",
            false => "",
        };
        let from = format!("MAIL FROM:<{}>{parameters}", letter.from);
        self.tell("MAIL", &from, 2).await.map_err(before)?;
        let to = format!("RCPT TO:<{}>", letter.to);
        self.tell("RCPT", &to, 2).await.map_err(before)?;
        self.tell("DATA", "DATA", 3).await.map_err(before)?;
        self.is_open = false;
        let sent = self.line.exchange(&framed(&letter.content)).await;
        let reply = sent.map_err(|broken| (broken.into(), Reached::Content))?;
        let code = reply.code;
        self.judge("the mail", reply, 2)
            .map(|()| code)
            .map_err(|stop| (stop, Reached::Content))
    }

    /// Makes sure that the server still listens, and forgets a mail that was refused half-way.
    pub(super) async fn reset(&mut self) -> bool {
        self.tell("RSET", "RSET", 2).await.is_ok()
    }

    /// Says goodbye.
    pub(super) async fn quit(mut self) {
        let _ = self.line.command("QUIT").await;
    }

    /// Whether it can take another mail.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Sends a command that is answered with a code of this first digit.
    async fn tell(&mut self, at: &'static str, command: &str, digit: u16) -> Result<(), Stop> {
        // Dropped or failed half-way, it leaves a conversation that cannot go on.
        self.is_open = false;
        let reply = self.line.command(command).await?;
        self.judge(at, reply, digit)
    }

    fn judge(&mut self, at: &'static str, reply: Reply, digit: u16) -> Result<(), Stop> {
        self.is_open = reply.code != 421;
        if reply.code / 100 == digit {
            return Ok(());
        }
        if reply.code < 400 {
            self.is_open = false;
            let code = reply.code;
            return Err(Broken(format!("expected a reply {digit}yz to {at}, found {code}")).into());
        }
        Err(Stop::Refused { at, reply })
    }
}

/// The content of a mail as it is sent: each line ends with CR and LF whatever it ended with, one that begins with a dot
/// gets another one, and a dot alone ends it (RFC 5321, 4.5.2). So no text of an event can end the mail early.
fn framed(content: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(content.len() + content.len() / 50 + 8);
    let mut rest = content;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
        if line.first() == Some(&b'.') {
            framed.push(b'.');
        }
        framed.extend_from_slice(line);
        framed.extend_from_slice(b"\r\n");
        rest = match after {
            [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
            [] => after,
        };
    }
    framed.extend_from_slice(b".\r\n");
    framed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offers(lines: &[&str]) -> Offers {
        Offers::of(&Reply {
            code: 250,
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
        })
    }

    #[test]
    fn offers_are_read_in_any_spelling() {
        let found = offers(&[
            "SMTPUTF8 greets",
            "starttls",
            "AUTH plain XOAUTH2",
            "AUTH=LOGIN",
        ]);
        assert!(found.starttls && !found.smtputf8);
        assert!(found.can_log_in_by("PLAIN") && found.can_log_in_by("LOGIN"));
        assert!(!found.can_log_in_by("CRAM-MD5"));
        assert!(offers(&["h", "SMTPUTF8"]).smtputf8);
    }

    #[test]
    fn a_mail_is_framed_by_lines() {
        for (content, expected) in [
            ("", ".\r\n"),
            ("a", "a\r\n.\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            ("a\n\nb", "a\r\n\r\nb\r\n.\r\n"),
            (".", "..\r\n.\r\n"),
            (
                "a\r\n.\r\nMAIL FROM:<x>",
                "a\r\n..\r\nMAIL FROM:<x>\r\n.\r\n",
            ),
            ("a\n.\nb\r.\rc", "a\r\n..\r\nb\r\n..\r\nc\r\n.\r\n"),
        ] {
            assert_eq!(
                framed(content.as_bytes()),
                expected.as_bytes(),
                "{content:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_but_the_end_ends_a_mail(content in "[.\r\nab]{0,40}") {
            let framed = String::from_utf8(framed(content.as_bytes())).unwrap();
            let lines: Vec<&str> = framed.split("\r\n").collect();
            prop_assert!(framed.ends_with(".\r\n"));
            prop_assert_eq!(lines.iter().filter(|line| **line == ".").count(), 1);
            prop_assert!(lines.iter().all(|line| !line.contains(['\r', '\n'])));
            let read: Vec<&str> = lines[..lines.len() - 2].iter().map(|line| line.strip_prefix('.').unwrap_or(line)).collect();
            let plain = content.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(read, plain.lines().collect::<Vec<_>>());
        }
    }
}
