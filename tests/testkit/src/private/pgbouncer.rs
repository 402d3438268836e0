//! A private pgbouncer before the shared Postgres.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use url::Url;

use super::tied;
use crate::{port, scratch::Scratch, services::Services, wait::eventually};

const PROGRAM: &str = "/usr/sbin/pgbouncer";
const START: Duration = Duration::from_secs(30);
/// It refuses to run as root.
const USER: &str = "postgres";

/// The sessions of the server that a client gets.
#[derive(Clone, Copy, Debug)]
pub enum Pooling {
    /// One for as long as it is there.
    Session,
    /// One for each transaction.
    Transaction,
    /// One for each statement.
    Statement,
}

/// The fate of start-up parameters.
#[derive(Clone, Copy, Debug)]
pub enum Parameters {
    /// They do not reach the server.
    Dropped,
    /// A connection that gives any is refused.
    Refused,
}

/// A pgbouncer of the test's own. It ends with the test, however the test ends.
#[derive(Debug)]
pub struct PrivatePgbouncer {
    _server: Child,
    url: String,
    // Last, so that the folder goes after the process that reads it.
    _scratch: Scratch,
}

impl PrivatePgbouncer {
    /// Starts one before the shared database, and waits until it listens.
    ///
    /// # Errors
    /// If pgbouncer is not installed or does not come up.
    pub async fn start(pooling: Pooling, parameters: Parameters) -> Result<Self> {
        let scratch = Scratch::new()?;
        let port = port::free()?;
        let mut url = Url::parse(&Services::shared().database_url).context("the database's URL")?;
        let text = format!(
            "[databases]\n* = host={} port={} user={} password={}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {}\ndefault_pool_size = 16\nmax_client_conn = 300\n{}\n",
            url.host_str().context("a host")?,
            url.port().unwrap_or(5432),
            url.username(),
            url.password().unwrap_or_default(),
            match pooling {
                Pooling::Session => "session",
                Pooling::Transaction => "transaction",
                Pooling::Statement => "statement",
            },
            match parameters {
                Parameters::Dropped => "ignore_startup_parameters = extra_float_digits,options",
                Parameters::Refused => "",
            },
        );
        let file = scratch.path().join("pgbouncer.ini");
        fs::write(&file, text).context("writing pgbouncer.ini")?;
        let is_root = rustix::process::getuid().is_root();
        if is_root {
            fs::set_permissions(scratch.path(), Permissions::from_mode(0o755))?;
        }
        let server = tied(Path::new(PROGRAM), "KILL", is_root.then_some(USER))
            .arg("--quiet")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting pgbouncer; `scripts/services install` installs it")?;
        eventually(START, "pgbouncer to listen", || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
            Ok(())
        })
        .await?;
        url.set_host(Some("127.0.0.1")).context("its host")?;
        url.set_port(Some(port))
            .ok()
            .context("a URL that has a port")?;
        Ok(Self {
            _server: server,
            url: url.to_string(),
            _scratch: scratch,
        })
    }

    /// `postgres://…` of the shared database through it.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }
}
