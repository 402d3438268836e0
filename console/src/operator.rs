//! Who works at this terminal, for the audit record.

use common::bootstrap::Failure;
use common::store::{Actor, Role, Store};
use operate::roles::Requester;

use crate::app::App;

impl App {
    /// The operator at this terminal: the user of the operating system, who has the database's own credentials and may do
    /// everything.
    ///
    /// # Errors
    /// None yet.
    pub(crate) async fn requester<'s>(
        &self,
        _store: impl Into<Option<&'s dyn Store>>,
    ) -> Result<Requester, Failure> {
        Ok(Requester {
            actor: user(),
            request_id: None,
        })
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
