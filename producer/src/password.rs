//! Passwords: hashed at the door, off the async threads, with a limit on concurrent hashes.

use std::sync::Arc;

use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

use crate::problem::{Code, Problem};

/// The shortest and the longest password, in characters: a schema can say this, and people can count it.
pub(crate) const LENGTH: std::ops::RangeInclusive<usize> = 8..=1024;

/// How many may wait for each one that is being hashed: about a second of waiting.
const WAITING: usize = 32;

/// OWASP's recommendation for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Hashes passwords with argon2id.
pub(crate) struct Hasher {
    /// Places for those that are hashed and those that wait.
    places: Semaphore,
    /// Those that are hashed now. The permit moves into the work: a caller who goes away in the
    /// middle frees no core.
    running: Arc<Semaphore>,
}

impl Hasher {
    /// A hasher that hashes `concurrent` at once.
    pub(crate) fn new(concurrent: usize) -> Self {
        let concurrent = concurrent.min(1024);
        Self {
            places: Semaphore::new(concurrent * (1 + WAITING)),
            running: Arc::new(Semaphore::new(concurrent)),
        }
    }

    /// The hash of a password as a PHC string.
    ///
    /// # Errors
    /// Too many wait already, or the system has no memory or no randomness to give.
    pub(crate) async fn hash(&self, password: SecretString) -> Result<String, Problem> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(Problem::new(
                Code::Overloaded,
                "too many passwords wait to be hashed; nothing was taken",
            )
            .retry_after(2));
        };
        let running = Arc::clone(&self.running).acquire_owned().await;
        let hashed = tokio::task::spawn_blocking(move || {
            let _running = running;
            hash(&password)
        });
        match hashed.await {
            Ok(Some(hash)) => Ok(hash),
            _ => Err(Problem::new(
                Code::Internal,
                "the password could not be hashed; nothing was taken",
            )),
        }
    }
}

fn hash(password: &SecretString) -> Option<String> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).ok()?;
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = hasher.hash_password(password.expose_secret().as_bytes());
    match hash {
        Ok(hash) => Some(hash.to_string()),
        Err(error) => {
            // argon2's errors are about parameters, memory and randomness, never about the text.
            tracing::error!(%error, "a password could not be hashed");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier as _;
    use argon2::password_hash::phc::PasswordHash;

    use super::*;

    #[tokio::test]
    async fn a_hash_verifies_and_is_salted() {
        let hasher = Hasher::new(2);
        let password = || SecretString::from("correct horse battery staple");
        let (one, two) = tokio::join!(hasher.hash(password()), hasher.hash(password()));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_ne!(one, two);
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        let parsed = PasswordHash::new(&one).unwrap();
        let verify = |text: &[u8]| Argon2::default().verify_password(text, &parsed);
        assert!(verify(b"correct horse battery staple").is_ok());
        assert!(verify(b"wrong").is_err());
    }

    #[tokio::test]
    async fn who_would_wait_too_long_is_told_to_come_back() {
        let hasher = Hasher::new(1);
        let all = u32::try_from(hasher.places.available_permits()).unwrap();
        let _full = hasher.places.acquire_many(all).await.unwrap();
        let refused = hasher.hash(SecretString::from("password")).await;
        assert_eq!(
            refused.map_err(|problem| problem.code()),
            Err(Code::Overloaded)
        );
    }
}
