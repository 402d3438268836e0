//! A mail server that answers by a plan, and keeps what it was sent.

mod conversation;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{net::TcpListener, task::JoinHandle, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::{pki::Leaf, wait::eventually};

/// A mail that the server has read to its end.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The sender, with its parameters, as `MAIL FROM:` had it.
    pub from: String,
    /// The recipients, as `RCPT TO:` had them.
    pub to: Vec<String>,
    /// Headers and body, lines ending with CR and LF, without doubled dots.
    pub content: String,
    /// The user who had logged in.
    pub user: Option<String>,
    /// It came over TLS.
    pub encrypted: bool,
    /// The number of its connection, from 0.
    pub connection: usize,
    /// The code of the reply to it; `None` if it got none.
    pub answered: Option<u16>,
}

impl Mail {
    /// A header, folded lines joined; empty where it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        let head = self.content.split("\r\n\r\n").next().unwrap_or_default();
        let head = head.replace("\r\n ", " ");
        head.split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    }
}

/// A command that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Its first word in upper case; `GREETING` before any, `CONTENT` for the end of a mail's content.
    pub verb: &'a str,
    /// The whole line.
    pub line: &'a str,
    /// The number of its connection, from 0.
    pub connection: usize,
    /// How many commands of this verb came before it, over all connections.
    pub earlier: usize,
}

/// What the server does about a command.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What a willing server does.
    Usual,
    /// This line, or these lines.
    Say(String),
    /// This line, and then the connection is closed.
    SayAndClose(String),
    /// Nothing, for ever.
    Stall,
    /// The connection is closed.
    Cut,
}

impl Answer {
    /// A reply.
    #[must_use]
    pub fn say(text: &str) -> Self {
        Self::Say(text.to_owned())
    }
}

type Plan = dyn Fn(Call<'_>) -> Answer + Send + Sync;

/// What a mail server offers.
#[derive(Debug, Default)]
pub struct Offers<'l> {
    /// TLS from the first byte, with this certificate.
    pub tls: Option<&'l Leaf>,
    /// `STARTTLS`, with this certificate.
    pub starttls: Option<&'l Leaf>,
    /// The user and the password without whom it takes no mail.
    pub login: Option<(&'l str, &'l str)>,
    /// `AUTH LOGIN` alone, not `PLAIN`.
    pub only_auth_login: bool,
    /// Addresses beyond ASCII.
    pub smtputf8: bool,
}

/// All that conversations share.
struct Shared {
    plan: Mutex<Arc<Plan>>,
    mails: Mutex<Vec<Mail>>,
    calls: Mutex<Vec<String>>,
    connections: AtomicUsize,
    tls: Option<TlsAcceptor>,
    starttls: Option<TlsAcceptor>,
    login: Option<(String, String)>,
    only_auth_login: bool,
    smtputf8: bool,
}

/// A mail server on loopback.
pub struct MailServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl MailServer {
    /// Starts a server that takes everything.
    ///
    /// # Errors
    /// If no port can be bound, or a certificate cannot be used.
    pub async fn start(offers: Offers<'_>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            plan: Mutex::new(Arc::new(|_: Call<'_>| Answer::Usual)),
            mails: Mutex::default(),
            calls: Mutex::default(),
            connections: AtomicUsize::new(0),
            tls: offers.tls.map(acceptor).transpose()?,
            starttls: offers.starttls.map(acceptor).transpose()?,
            login: offers
                .login
                .map(|(user, password)| (user.to_owned(), password.to_owned())),
            only_auth_login: offers.only_auth_login,
            smtputf8: offers.smtputf8,
        });
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            serving,
        })
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on answers commands by this plan.
    pub fn plan(&self, plan: impl Fn(Call<'_>) -> Answer + Send + Sync + 'static) {
        *lock(&self.shared.plan) = Arc::new(plan);
    }

    /// From now on answers a verb with these lines, one after the other, and as usual once there are no more.
    pub fn answers(&self, verb: &'static str, lines: &'static [&'static str]) {
        let before = lock(&self.shared.calls)
            .iter()
            .filter(|call| *call == verb)
            .count();
        self.plan(move |call| {
            let nth = call.earlier.saturating_sub(before);
            match lines.get(nth) {
                Some(line) if call.verb == verb => Answer::say(line),
                _ => Answer::Usual,
            }
        });
    }

    /// The mails so far.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        lock(&self.shared.mails).clone()
    }

    /// The mails that were taken.
    #[must_use]
    pub fn taken(&self) -> Vec<Mail> {
        let mut mails = self.mails();
        mails.retain(|mail| mail.answered.is_some_and(|code| code < 300));
        mails
    }

    /// The verbs of the commands so far.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        lock(&self.shared.calls).clone()
    }

    /// How many connections there have been.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Waits until this many mails were taken.
    ///
    /// # Errors
    /// If they were not in time.
    pub async fn await_taken(&self, count: usize, limit: Duration) -> Result<Vec<Mail>> {
        eventually(limit, "mails that were taken", || async {
            let taken = self.taken();
            anyhow::ensure!(
                taken.len() >= count,
                "{} of {count} mails were taken",
                taken.len()
            );
            Ok(taken)
        })
        .await
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut conversations = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        conversations.spawn(async move {
            let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
            // A client that goes away is its own affair.
            let _ = conversation::hold(stream, &shared, connection).await;
        });
    }
}

fn acceptor(leaf: &Leaf) -> Result<TlsAcceptor> {
    let certificate = CertificateDer::from_pem_slice(leaf.certificate.as_bytes())
        .context("reading the certificate")?;
    let key =
        PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).context("reading the private key")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
