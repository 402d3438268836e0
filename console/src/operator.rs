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
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    Actor {
        who: format!("cli:{}", user.unwrap_or_else(|| "unknown".to_owned())),
        role: Some(Role::Admin),
        origin: host(),
    }
}

/// The name of this machine.
fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}
