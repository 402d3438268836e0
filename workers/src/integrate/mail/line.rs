//! The line to a mail server: commands out, replies in, both bounded (RFC 5321).

use std::fmt;
use std::io::ErrorKind;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::reply::Reply;

/// Maximum length of one line of a reply, in bytes. RFC 5321 allows 512.
const MAX_LINE: usize = 4096;
/// Maximum number of lines in a reply.
const MAX_LINES: usize = 100;
/// How much is read at once, in bytes.
const PIECE: usize = 1024;

/// A connection, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Commands and replies over a connection.
pub(super) struct Line {
    stream: Box<dyn Stream>,
    /// Bytes that were received and not read yet.
    unread: Vec<u8>,
}

/// Why a reply did not come.
#[derive(Debug)]
pub(super) struct Broken(pub(super) String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Line {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// The connection itself, for TLS to begin on it.
    ///
    /// # Errors
    /// Something came that nobody asked for. It was sent before TLS protects the line, so anybody may have sent it.
    pub(super) fn into_stream(self) -> Result<Box<dyn Stream>, Broken> {
        if self.unread.is_empty() {
            return Ok(self.stream);
        }
        Err(Broken(
            "expected TLS to begin behind the reply to STARTTLS, found more text".to_owned(),
        ))
    }

    /// Sends a command, and reads its reply. The command must be one line.
    pub(super) async fn command(&mut self, command: &str) -> Result<Reply, Broken> {
        let line = format!("{command}\r\n");
        self.exchange(line.as_bytes()).await
    }

    /// Sends bytes, and reads the reply to them.
    pub(super) async fn exchange(&mut self, bytes: &[u8]) -> Result<Reply, Broken> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match sent.await {
            Ok(()) => self.reply().await,
            // A server that hangs up before it has read everything may have said why.
            Err(error) => match self.reply().await {
                Ok(reply) if !reply.is_positive() => Ok(reply),
                _ => Err(Broken(format!("the connection broke off: {error}"))),
            },
        }
    }

    /// Reads a reply.
    pub(super) async fn reply(&mut self) -> Result<Reply, Broken> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            let (code, is_last, text) = parse(&line).ok_or_else(|| {
                let found = if looks_like_tls(&line) {
                    "TLS"
                } else {
                    "another line"
                };
                Broken(format!(
                    "expected the reply of a mail server, such as \"250 OK\", found {found}"
                ))
            })?;
            lines.push(text);
            if is_last {
                return Ok(Reply { code, lines });
            }
            if lines.len() == MAX_LINES {
                return Err(Broken(format!(
                    "expected a reply of up to {MAX_LINES} lines, found more"
                )));
            }
        }
    }

    /// Reads a line, without its end.
    async fn line(&mut self) -> Result<Vec<u8>, Broken> {
        let mut searched = 0;
        loop {
            let end = self.unread[searched..]
                .iter()
                .position(|&byte| byte == b'\n');
            if let Some(end) = end {
                let mut line: Vec<u8> = self.unread.drain(..=searched + end).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
            searched = self.unread.len();
            if searched > MAX_LINE || looks_like_tls(&self.unread) {
                // It is not a line, and its end may never come.
                return Ok(std::mem::take(&mut self.unread));
            }
            let mut piece = [0; PIECE];
            let read = match self.stream.read(&mut piece).await {
                // The end of TLS without a word is an end as well.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
                read => read,
            };
            let read =
                read.map_err(|error| Broken(format!("the connection broke off: {error}")))?;
            if read == 0 {
                return Err(Broken(
                    "expected a reply, found that the mail server closed the connection".to_owned(),
                ));
            }
            self.unread.extend_from_slice(&piece[..read]);
        }
    }
}

/// Code, whether the line is the last one, and text of a line.
fn parse(line: &[u8]) -> Option<(u16, bool, String)> {
    let (code, rest) = line.split_at_checked(3)?;
    let code: u16 = std::str::from_utf8(code).ok()?.parse().ok()?;
    if !(200..600).contains(&code) || line.len() > MAX_LINE {
        return None;
    }
    let is_last = match rest.first() {
        None | Some(b' ') => true,
        Some(b'-') => false,
        Some(_) => return None,
    };
    // Servers may answer in any encoding, and their text goes into logs and the database.
    let text = String::from_utf8_lossy(rest.get(1..).unwrap_or_default());
    Some((code, is_last, text.replace(char::is_control, " ")))
}

/// Whether these are the first bytes of a TLS record.
fn looks_like_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x14..=0x17, 3, ..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(future)
    }

    fn replies(sent: &[u8]) -> (Vec<Reply>, Option<String>) {
        run(async {
            let (ours, mut theirs) = tokio::io::duplex(1 << 20);
            theirs.write_all(sent).await.unwrap();
            drop(theirs);
            let mut line = Line::new(Box::new(ours));
            let mut replies = Vec::new();
            loop {
                match line.reply().await {
                    Ok(reply) => replies.push(reply),
                    Err(broken) => return (replies, Some(broken.to_string())),
                }
            }
        })
    }

    fn reply(code: u16, lines: &[&str]) -> Reply {
        Reply {
            code,
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
        }
    }

    #[test]
    fn replies_are_read_as_servers_write_them() {
        let sent = b"250-one\r\n250 two\r\n220\r\n550 Benutzer ung\xfcltig\n451 a\x1b[31mb\r\n";
        let (read, end) = replies(sent);
        assert_eq!(
            read,
            [
                reply(250, &["one", "two"]),
                reply(220, &[""]),
                reply(550, &["Benutzer ung\u{fffd}ltig"]),
                reply(451, &["a [31mb"]),
            ]
        );
        assert!(end.is_some_and(|end| end.contains("closed the connection")));
    }

    #[test]
    fn what_is_not_a_reply_is_an_error() {
        let endless = "250-x\r\n".repeat(MAX_LINES + 1);
        let wide = "x".repeat(MAX_LINE * 4);
        let wide_reply = format!("250 {wide}\r\n");
        for (sent, words) in [
            ("HTTP/1.1 400 Bad Request\r\n", "found another line"),
            ("25\r\n", "found another line"),
            ("999 x\r\n", "found another line"),
            ("250_x\r\n", "found another line"),
            ("\x15\x03\x03\0\x02\x02\x0a", "found TLS"),
            (&endless, "up to 100 lines"),
            (&wide, "found another line"),
            (&wide_reply, "found another line"),
        ] {
            let (read, error) = replies(sent.as_bytes());
            assert!(read.is_empty(), "{read:?}");
            assert!(error.is_some_and(|error| error.contains(words)), "{words}");
        }
    }

    #[test]
    fn text_before_tls_is_an_error() {
        run(async {
            let (ours, mut theirs) = tokio::io::duplex(1000);
            theirs
                .write_all(b"220 go\r\n250 injected\r\n")
                .await
                .unwrap();
            let mut line = Line::new(Box::new(ours));
            assert_eq!(line.reply().await.unwrap().code, 220);
            assert!(line.into_stream().is_err());
        });
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let (read, _) = replies(&bytes);
            for reply in read {
                prop_assert!(reply.lines.iter().all(|line| !line.contains(char::is_control)));
            }
        }
    }
}
