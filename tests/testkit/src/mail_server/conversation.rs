//! One conversation of a mail server.

use std::sync::Arc;

use anyhow::{Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use super::{Answer, Call, Mail, Shared, lock};

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type Line = BufReader<Box<dyn Stream>>;

/// What a conversation has come to.
struct Talk<'s> {
    shared: &'s Shared,
    line: Line,
    connection: usize,
    encrypted: bool,
    user: Option<String>,
    from: Option<String>,
    to: Vec<String>,
}

/// Holds a conversation to its end.
pub(super) async fn hold(tcp: TcpStream, shared: &Shared, connection: usize) -> Result<()> {
    let stream: Box<dyn Stream> = match &shared.tls {
        Some(tls) => Box::new(tls.accept(tcp).await?),
        None => Box::new(tcp),
    };
    let mut talk = Talk {
        shared,
        line: BufReader::new(stream),
        connection,
        encrypted: shared.tls.is_some(),
        user: None,
        from: None,
        to: Vec::new(),
    };
    talk.answer("GREETING", "", "220 mail.test ESMTP").await?;
    while let Some(command) = talk.read().await? {
        let verb = command
            .split([' ', ':'])
            .next()
            .unwrap_or_default()
            .to_uppercase();
        match &*verb {
            "STARTTLS" => talk = talk.start_tls(&command).await?,
            "DATA" => talk.data(&command).await?,
            _ => {
                let usual = talk.usual(&verb, &command).await?;
                talk.answer(&verb, &command, &usual).await?;
            }
        }
        if verb == "QUIT" {
            break;
        }
    }
    Ok(())
}

impl Talk<'_> {
    async fn read(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        let read = self.line.read_line(&mut line).await?;
        Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// Answers by the plan, else as usual. The code of the reply.
    async fn answer(&mut self, verb: &str, line: &str, usual: &str) -> Result<u16> {
        let plan = Arc::clone(&lock(&self.shared.plan));
        let earlier = {
            let mut calls = lock(&self.shared.calls);
            let earlier = calls.iter().filter(|call| *call == verb).count();
            calls.push(verb.to_owned());
            earlier
        };
        let call = Call {
            verb,
            line,
            connection: self.connection,
            earlier,
        };
        let (text, close) = match plan(call) {
            Answer::Usual => (usual.to_owned(), false),
            Answer::Say(text) => (text, false),
            Answer::SayAndClose(text) => (text, true),
            Answer::Stall => return std::future::pending().await,
            Answer::Cut => bail!("cut"),
        };
        self.say(&text).await?;
        if close {
            bail!("closed");
        }
        Ok(text.get(..3).unwrap_or_default().parse()?)
    }

    async fn say(&mut self, text: &str) -> Result<()> {
        let text = format!("{text}\r\n");
        self.line.get_mut().write_all(text.as_bytes()).await?;
        Ok(self.line.get_mut().flush().await?)
    }

    async fn usual(&mut self, verb: &str, command: &str) -> Result<String> {
        Ok(match verb {
            "EHLO" => self.offers(),
            "AUTH" => self.log_in(command).await?,
            "MAIL" if self.shared.login.is_some() && self.user.is_none() => {
                "530 5.7.0 log in first".to_owned()
            }
            "MAIL" => {
                self.from = command.split_once(':').map(|(_, from)| from.to_owned());
                self.to.clear();
                "250 2.1.0 OK".to_owned()
            }
            "RCPT" if self.from.is_some() => {
                let to = command.split_once(':').map(|(_, to)| to.to_owned());
                self.to.extend(to);
                "250 2.1.5 OK".to_owned()
            }
            "RSET" => {
                self.from = None;
                "250 OK".to_owned()
            }
            "NOOP" => "250 OK".to_owned(),
            "QUIT" => "221 bye".to_owned(),
            _ => "503 5.5.1 bad sequence".to_owned(),
        })
    }

    fn offers(&self) -> String {
        let mut offers = vec!["250-mail.test", "250-8BITMIME"];
        if self.shared.starttls.is_some() && !self.encrypted {
            offers.push("250-STARTTLS");
        }
        if self.shared.smtputf8 {
            offers.push("250-SMTPUTF8");
        }
        if self.shared.login.is_some() && self.encrypted {
            offers.push(match self.shared.only_auth_login {
                true => "250-AUTH LOGIN",
                false => "250-AUTH PLAIN LOGIN",
            });
        }
        offers.push("250 HELP");
        offers.join("\r\n")
    }

    async fn log_in(&mut self, command: &str) -> Result<String> {
        let decoded = |text: &str| -> Result<String> {
            Ok(String::from_utf8(STANDARD.decode(text.trim())?)?)
        };
        let (user, password) = if let Some(plain) = command.strip_prefix("AUTH PLAIN ") {
            let plain = decoded(plain)?;
            let mut parts = plain.split('\0').skip(1).map(str::to_owned);
            (
                parts.next().unwrap_or_default(),
                parts.next().unwrap_or_default(),
            )
        } else {
            self.say("334 VXNlcm5hbWU6").await?;
            let user = decoded(&self.read().await?.unwrap_or_default())?;
            self.say("334 UGFzc3dvcmQ6").await?;
            (user, decoded(&self.read().await?.unwrap_or_default())?)
        };
        if self.shared.login == Some((user.clone(), password)) {
            self.user = Some(user);
            return Ok("235 2.7.0 welcome".to_owned());
        }
        Ok("535 5.7.8 wrong user or password".to_owned())
    }

    async fn data(&mut self, command: &str) -> Result<()> {
        if self.answer("DATA", command, "354 go on").await? != 354 {
            return Ok(());
        }
        let mut content = String::new();
        loop {
            let mut line = String::new();
            if self.line.read_line(&mut line).await? == 0 {
                bail!("the connection ended within a mail");
            }
            if line == ".\r\n" {
                break;
            }
            content.push_str(line.strip_prefix('.').unwrap_or(&line));
        }
        let index = {
            let mut mails = lock(&self.shared.mails);
            mails.push(Mail {
                from: self.from.take().unwrap_or_default(),
                to: std::mem::take(&mut self.to),
                content,
                user: self.user.clone(),
                encrypted: self.encrypted,
                connection: self.connection,
                answered: None,
            });
            mails.len() - 1
        };
        let code = self.answer("CONTENT", "", "250 2.0.0 taken").await?;
        if let Some(mail) = lock(&self.shared.mails).get_mut(index) {
            mail.answered = Some(code);
        }
        Ok(())
    }

    async fn start_tls(mut self, command: &str) -> Result<Self> {
        let code = self.answer("STARTTLS", command, "220 go on").await?;
        let Some(starttls) = self.shared.starttls.as_ref().filter(|_| code == 220) else {
            return Ok(self);
        };
        let stream = starttls.accept(self.line.into_inner()).await?;
        Ok(Self {
            line: BufReader::new(Box::new(stream)),
            encrypted: true,
            user: None,
            ..self
        })
    }
}
