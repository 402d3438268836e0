//! Who works at this terminal, for the audit record.

use common::bootstrap::Failure;
use common::config::{OPERATOR_KEY, operator_key};
use common::store::{Actor, Role, Store};
use operate::operators;
use operate::roles::Requester;

use crate::app::App;

impl App {
    /// The operator at this terminal: the one whose key is in the environment. Without a key it is the user of the operating
    /// system, who has the database's own credentials and may do everything.
    ///
    /// # Errors
    /// The key is wrong or revoked, or `store` is not there or cannot say whose it is.
    pub(crate) async fn requester<'s>(
        &self,
        store: impl Into<Option<&'s dyn Store>>,
    ) -> Result<Requester, Failure> {
        let actor = match (operator_key()?, store.into()) {
            (None, _) => user(),
            (Some(key), Some(store)) => {
                let known = operators::authenticate(store, key.expose(), host());
                known.await.map_err(of_the_variable)?
            }
            (Some(_), None) => {
                return Err(Failure::Usage(format!(
                    "{OPERATOR_KEY} is set, and there is no database yet that knows operators"
                )));
            }
        };
        Ok(Requester {
            actor,
            request_id: None,
        })
    }
}

/// The failure with the place of the key, where the key is wrong.
fn of_the_variable(failure: Failure) -> Failure {
    match failure {
        Failure::Usage(problem) => Failure::Usage(format!("variable {OPERATOR_KEY}: {problem}")),
        other => other,
    }
}

/// A program of ours that acts by itself, such as the demo.
pub fn program(name: &str) -> Requester {
    Requester {
        actor: Actor {
            who: name.to_owned(),
            role: Some(Role::Admin),
            origin: host(),
        },
        request_id: None,
    }
}

/// The user of the operating system.
fn user() -> Actor {
    let id = rustix::process::getuid().as_raw();
    // Root alone may say for whom it works. Anybody else could claim any name in a variable.
    let sudo = std::env::var("SUDO_USER").ok().filter(|_| id == 0);
    let users = || std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = sudo.unwrap_or_else(|| name_of(id, &users()));
    Actor {
        who: format!("cli:{user}"),
        role: Some(Role::Admin),
        origin: host(),
    }
}

/// The name of the user with this id. Users of a directory service are not in this list, and are called by their ids.
fn name_of(id: u32, users: &str) -> String {
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("uid-{id}"))
}

/// The name of this machine.
fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_called_by_name_or_by_id() {
        let users = "root:x:0:0:root:/root:/bin/bash\nbroken\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(name_of(0, users), "root");
        assert_eq!(name_of(1000, users), "ada");
        assert_eq!(name_of(7, users), "uid-7");
        assert_eq!(name_of(7, ""), "uid-7");
    }
}
