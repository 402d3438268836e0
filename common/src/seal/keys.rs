//! The source of the keys: `secrets.seal`, or without it a secret that the programs on one broker share.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};
use uuid::Uuid;

use super::Seal;
use crate::bootstrap::Failure;
use crate::config::Config;
use crate::event::Logins;

/// The programs of a namespace have no common key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// The key file of an embedded broker cannot be used.
    #[error("the key file {path} cannot be used: {problem}")]
    File {
        /// Where it is.
        path: String,
        /// The expected and the found value.
        problem: String,
    },
    /// Each program would seal with the password of its own login, and none could open another's seals.
    #[error(
        "expected `[secrets] seal` (LONGSHORE__SECRETS__SEAL), found none, although `[broker] logins` trusts \
         several logins ({logins}): each program would seal password hashes with the password of its own login, \
         and the store worker could not open what the producer sealed. Set the same secret for all of them \
         (`openssl rand -base64 32` makes one)"
    )]
    Unset {
        /// The logins.
        logins: Logins,
    },
}

impl From<NoKey> for Failure {
    fn from(error: NoKey) -> Self {
        match error {
            NoKey::File { .. } => Self::Failed(error.into()),
            NoKey::Unset { .. } => Self::Usage(error.to_string()),
        }
    }
}

impl Seal {
    /// The keys of a configuration. The broker's own key comes last: it seals if nothing is configured, and opens older
    /// seals.
    ///
    /// # Errors
    /// The broker is an embedded one, and its key file can be neither read nor made; or nothing is configured, and the
    /// programs share no secret to make a key of.
    pub fn of(config: &Config) -> Result<Self, NoKey> {
        let logins = config.broker.logins();
        let is_set = !config.secrets.seal.is_empty();
        if !is_set && !config.broker.url.is_embedded() && logins.iter().nth(1).is_some() {
            return Err(NoKey::Unset { logins });
        }
        let configured = config.secrets.seal.iter();
        let mut secrets: Vec<Vec<u8>> = configured
            .map(|secret| secret.expose().as_bytes().to_vec())
            .collect();
        secrets.push(of_broker(config)?);
        Ok(Self::new(secrets))
    }
}

/// The common secret of the programs on one broker: the password of their login, or the file beside the embedded
/// broker's. Other namespaces have other keys.
fn of_broker(config: &Config) -> Result<Vec<u8>, NoKey> {
    let url = &config.broker.url;
    let secret = match url.file() {
        Some(file) => of_file(&beside(file))?,
        // Of a broker in memory nothing outlives the process.
        None if url.is_embedded() => url.expose().to_owned(),
        None => {
            let password = url.password().unwrap_or_default();
            if password.is_empty() && config.secrets.seal.is_empty() {
                tracing::warn!(
                    "broker.url has no password to make a key of: password hashes are sealed with a key \
                     that anybody can make; set secrets.seal"
                );
            }
            password
        }
    };
    Ok(format!("{}\0{secret}", config.namespace).into_bytes())
}

fn beside(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-seal");
    path.into()
}

/// The key in a file, which is made if it is missing.
fn of_file(path: &Path) -> Result<String, NoKey> {
    let unusable = |problem: String| NoKey::File {
        path: path.display().to_string(),
        problem,
    };
    let key = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(path).and_then(|()| fs::read_to_string(path))
        }
        read => read,
    };
    let key = key.map_err(|error| {
        unusable(format!(
            "{error}; this user must be able to read and write the broker's folder"
        ))
    })?;
    let key = key.trim();
    if key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(key.to_owned());
    }
    Err(unusable(
        "expected 64 hexadecimal digits; restore it from a backup, or remove it to have a new one made \
         (hashes sealed with the old key will not open)"
            .to_owned(),
    ))
}

/// Makes a key file, whole or not at all, even if another program does so at the same time.
fn make(path: &Path) -> io::Result<()> {
    let mut key = [0_u8; 32];
    let no_randomness = |_| io::Error::other("the system gives no randomness");
    SystemRandom::new().fill(&mut key).map_err(no_randomness)?;
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    if let Some(folder) = path.parent() {
        crate::sqlite::make_private_folder(folder)?;
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", Uuid::now_v7().simple()));
    let draft = PathBuf::from(draft);
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(crate::sqlite::PRIVATE_FILE)
        .open(&draft)?;
    let made = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        // Fails where somebody else was quicker: theirs counts.
        .and_then(|()| match fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
    let _ = fs::remove_file(&draft);
    made
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::event::EventId;

    fn seal(pairs: &[(&str, &str)]) -> Seal {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Seal::of(&crate::config::load_from(pairs).unwrap()).unwrap()
    }

    fn agree(one: &Seal, other: &Seal) -> bool {
        let event = EventId::born();
        other.open(event, &one.seal(event, "x").unwrap()).is_ok()
    }

    const URL: (&str, &str) = ("LONGSHORE_BROKER_URL", "amqp://a:p%40ss@one/%2f");

    #[test]
    fn programs_with_one_login_agree_with_nothing_configured() {
        let theirs = ("LONGSHORE_BROKER_URL", "amqp://a:p@ss@other:5673");
        assert!(agree(&seal(&[URL]), &seal(&[theirs])));
        let other = ("LONGSHORE_BROKER_URL", "amqp://a:other@one");
        assert!(!agree(&seal(&[URL]), &seal(&[other])));
        let namespace = ("LONGSHORE_NAMESPACE", "other");
        assert!(!agree(&seal(&[URL]), &seal(&[URL, namespace])));
    }

    #[test]
    fn programs_with_several_logins_need_a_key_in_common() {
        let load = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Seal::of(&crate::config::load_from(pairs).unwrap())
        };
        let logins = ("LONGSHORE__BROKER__LOGINS", r#"["store", "producer"]"#);
        let key = (
            "LONGSHORE__SECRETS__SEAL",
            "0123456789abcdef0123456789abcdef",
        );
        let error = load(&[URL, logins]).unwrap_err();
        let failure = Failure::from(error);
        assert_eq!(failure.code(), 2);
        for word in ["a, producer, store", "secrets", "LONGSHORE__SECRETS__SEAL"] {
            assert!(failure.to_string().contains(word), "{failure}");
        }
        assert!(!failure.to_string().contains("p@ss"), "{failure}");
        assert!(load(&[URL, logins, key]).is_ok());
        // A list with the own login alone is the default.
        let own = ("LONGSHORE__BROKER__LOGINS", r#"["a"]"#);
        assert!(load(&[URL, own]).is_ok());
        let embedded = ("LONGSHORE_BROKER_URL", "sqlite::memory:");
        assert!(load(&[embedded, logins]).is_ok());
    }

    #[test]
    fn a_configured_key_seals_and_what_was_sealed_before_still_opens() {
        let key = (
            "LONGSHORE__SECRETS__SEAL",
            "0123456789abcdef0123456789abcdef",
        );
        let other = ("LONGSHORE_BROKER_URL", "amqp://b:other@one");
        assert!(agree(&seal(&[URL, key]), &seal(&[other, key])));
        assert!(agree(&seal(&[URL]), &seal(&[URL, key])));
        assert!(!agree(&seal(&[URL, key]), &seal(&[URL])));
    }

    #[test]
    fn an_embedded_broker_has_a_key_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/new/broker.db", folder.path().display());
        let url = ("LONGSHORE_BROKER_URL", &*url);
        assert!(agree(&seal(&[url]), &seal(&[url])));
        let path = folder.path().join("new/broker.db-seal");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

        fs::write(&path, "half a k").unwrap();
        let config = crate::config::load_from([(url.0.to_owned(), url.1.to_owned())]).unwrap();
        let error = Seal::of(&config).unwrap_err().to_string();
        assert!(
            error.contains("broker.db-seal") && !error.contains("half"),
            "{error}"
        );
    }
}
