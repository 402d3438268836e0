//! Lets a command find the `longshore dev` that was started in the same folder. The `longshore dev` answers on a
//! socket there with its configuration.
//!
//! Nothing is written down, since the configuration may hold passwords. A process that was killed no longer
//! answers.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::bootstrap::Failure;
use common::sqlite::make_private_folder;
use rustix::process::getuid;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The socket, relative to the working directory: the path of a socket must be short.
const SOCKET: &str = "longshore-data/dev.sock";

/// Maximum wait of either side for the other.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The answering side. When dropped, it removes the socket.
pub(super) struct Sharing {
    listener: UnixListener,
    path: PathBuf,
    text: watch::Receiver<String>,
}

impl Sharing {
    /// Begins to answer with `text` as it then is; `None` where another `longshore dev` answers in this folder.
    ///
    /// # Errors
    /// A socket is not possible in this folder.
    pub(super) fn begin(text: watch::Receiver<String>) -> io::Result<Option<Self>> {
        Self::begin_at(Path::new(SOCKET), text)
    }

    fn begin_at(path: &Path, text: watch::Receiver<String>) -> io::Result<Option<Self>> {
        if net::UnixStream::connect(path).is_ok() {
            return Ok(None);
        }
        if let Some(folder) = path.parent() {
            make_private_folder(folder)?;
        }
        // A killed process has left the socket.
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        let path = path.to_owned();
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Some(Self {
            listener,
            path,
            text,
        }))
    }

    /// Answers one command after the other until `stop` is cancelled.
    pub(super) async fn answer(&self, stop: &CancellationToken) {
        while let Some(came) = stop.run_until_cancelled(self.listener.accept()).await {
            match came {
                Ok((stream, _)) => self.tell(stream).await,
                Err(error) => {
                    tracing::warn!(%error, "a command in this folder is not answered");
                    sleep(ANSWER_TIMEOUT).await;
                }
            }
        }
    }

    async fn tell(&self, mut stream: UnixStream) {
        if !stream.peer_cred().is_ok_and(|peer| may_know(peer.uid())) {
            return;
        }
        let text = self.text.borrow().clone();
        let told = timeout(ANSWER_TIMEOUT, async {
            stream.write_all(text.as_bytes()).await?;
            stream.shutdown().await
        });
        // The command is gone, or says itself that its wait was in vain.
        let _ = told.await;
    }
}

/// Whether a user may know the configuration: the user of this process, and root.
fn may_know(user: u32) -> bool {
    user == getuid().as_raw() || user == 0
}

impl Drop for Sharing {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        // The folder stays where it holds data.
        if let Some(folder) = self.path.parent() {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// The configuration of the `longshore dev` that was started in this folder; `None` where none was.
///
/// # Errors
/// The `longshore dev` does not answer.
pub(crate) fn ask() -> Result<Option<String>, Failure> {
    ask_at(Path::new(SOCKET))
}

fn ask_at(path: &Path) -> Result<Option<String>, Failure> {
    let Ok(mut stream) = net::UnixStream::connect(path) else {
        return Ok(None);
    };
    let mut text = String::new();
    let read = stream
        .set_read_timeout(Some(ANSWER_TIMEOUT))
        .and_then(|()| stream.read_to_string(&mut text));
    match read {
        // The `longshore dev` belongs to another user.
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(text)),
        Err(error) => Err(Failure::Unreachable(format!(
            "`longshore dev` runs in this folder and does not say what it works with ({error}); set \
             LONGSHORE_BROKER_URL and LONGSHORE_DATABASE_URL to say where to look"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use common::config::Config;

    use super::*;

    async fn ask(path: &Path) -> Option<String> {
        let path = path.to_owned();
        let asked = tokio::task::spawn_blocking(move || ask_at(&path));
        asked.await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_command_is_answered_for_as_long_as_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/dev.sock");
        assert_eq!(ask(&path).await, None);
        let begin =
            || Sharing::begin_at(&path, watch::channel("what it runs with".to_owned()).1).unwrap();
        let sharing = begin().unwrap();
        assert!(begin().is_none(), "two answer in one folder");
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let stop = CancellationToken::new();
        let asked = async {
            // The look of the second `longshore dev` was a question too.
            let told = ask(&path).await;
            stop.cancel();
            told
        };
        let (told, ()) = tokio::join!(asked, sharing.answer(&stop));
        assert_eq!(told.as_deref(), Some("what it runs with"));
        drop(sharing);
        assert!(!path.parent().unwrap().exists());
    }

    #[tokio::test]
    async fn what_a_killed_one_has_left_is_no_hindrance() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dev.sock");
        fs::write(folder.path().join("data"), "").unwrap();
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert_eq!(ask(&path).await, None);
        let sharing = Sharing::begin_at(&path, watch::channel(String::new()).1).unwrap();
        drop(sharing.unwrap());
        assert!(folder.path().exists(), "data is in it");
    }

    #[test]
    fn it_is_beside_the_data() {
        let preset = Config::default();
        let data = preset.broker.url.file().and_then(Path::parent);
        assert_eq!(Path::new(SOCKET).parent(), data);
    }
}
