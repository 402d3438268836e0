//! Who asks for a change, and whether the role allows it.
//!
//! | role | may |
//! |--|--|
//! | viewer | read, personal data masked |
//! | operator | that, unmasked, and mend, replay, discard, restore, publish and steer |
//! | admin | that, and purge, keep keys and operators, change the topology and the schema |

use common::bootstrap::Failure;
use common::store::{Act, Actor, AuditAction, Role, Store};

/// An operator who asks for changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    /// The operator.
    pub actor: Actor,
    /// The HTTP request that asks, if one does.
    pub request_id: Option<String>,
}

impl Requester {
    /// An act of the operator.
    pub fn act(&self, action: AuditAction, target: impl Into<String>) -> Act {
        Act {
            request_id: self.request_id.clone(),
            ..Act::new(self.actor.clone(), action, target)
        }
    }

    /// Whether personal data is masked in everything that the operator reads.
    pub fn reads_masked(&self) -> bool {
        self.actor.role.is_none_or(|role| role < Role::Operator)
    }
}

/// The least role that may do this.
pub fn least_role(action: AuditAction) -> Role {
    match action {
        AuditAction::DeadEdit
        | AuditAction::DeadDiscard
        | AuditAction::DeadRestore
        | AuditAction::OperationBegin
        | AuditAction::OperationPause
        | AuditAction::OperationResume
        | AuditAction::OperationStop
        | AuditAction::OperationRate
        | AuditAction::EventsPublish
        | AuditAction::EventsRequeue
        | AuditAction::EventCancel
        | AuditAction::DestinationPause
        | AuditAction::DestinationResume
        | AuditAction::DestinationTest => Role::Operator,
        AuditAction::DeadPurge
        | AuditAction::KeyCreate
        | AuditAction::KeyRotate
        | AuditAction::KeyRevoke
        | AuditAction::OperatorCreate
        | AuditAction::OperatorRevoke
        | AuditAction::TopologyApply
        | AuditAction::TopologyDelete
        | AuditAction::SchemaMigrate
        | AuditAction::ConfigurationReload => Role::Admin,
    }
}

/// Checks that the role of the operator allows this act. A denial is recorded.
///
/// # Errors
/// It does not: the failure names the role that is needed.
pub async fn permit<'s>(store: impl Into<Option<&'s dyn Store>>, act: &Act) -> Result<(), Failure> {
    let needed = least_role(act.action);
    if act.actor.role.is_some_and(|role| role >= needed) {
        return Ok(());
    }
    let recorded = match store.into() {
        Some(store) => store.audit().deny(act).await.map_err(|it| it.to_string()),
        None => Err("there is no database yet".to_owned()),
    };
    let unrecorded = match recorded {
        Ok(()) => String::new(),
        Err(error) => format!("; the denial could not be recorded: {error}"),
    };
    let role = act
        .actor
        .role
        .map_or("no role".to_owned(), |role| format!("the role {role}"));
    Err(Failure::Failed(anyhow::anyhow!(
        "{} needs the role {needed}, and {} has {role}, so nothing was done: ask an admin{unrecorded}",
        act.action,
        act.actor.who
    )))
}

#[cfg(test)]
mod tests {
    use common::store::{Audit as _, AuditFilter, AuditOutcome, AuditPage};

    use super::*;
    use crate::testbed;

    #[tokio::test]
    async fn every_action_is_allowed_from_its_role_on_and_each_denial_is_recorded() {
        let store = testbed::store().await;
        let mut denied = 0;
        for &action in AuditAction::ALL {
            let roles = [None]
                .into_iter()
                .chain(Role::ALL.iter().copied().map(Some));
            for role in roles {
                let mut requester = testbed::requester();
                requester.actor.role = role;
                let act = requester.act(action, "a target");
                let permitted = permit(&store as &dyn Store, &act).await;
                let may = role.is_some_and(|role| role >= least_role(action));
                assert_eq!(permitted.is_ok(), may, "{action} as {role:?}");
                let Err(failure) = permitted else { continue };
                denied += 1;
                let told = failure.to_string();
                let needed = least_role(action);
                assert!(
                    told.contains(&format!("{action} needs the role {needed}")),
                    "{told}"
                );
                assert_eq!(failure.code(), 1);
            }
        }
        let page = AuditPage {
            before: None,
            limit: 1000,
        };
        let entries = store
            .audit_page(&AuditFilter::default(), page)
            .await
            .unwrap();
        assert_eq!(entries.len(), denied);
        assert!(
            entries
                .iter()
                .all(|entry| entry.outcome == AuditOutcome::Denied)
        );
        assert!(denied > AuditAction::ALL.len());
    }

    #[test]
    fn a_viewer_may_change_nothing_and_reads_masked() {
        for &action in AuditAction::ALL {
            assert!(least_role(action) > Role::Viewer, "{action}");
        }
        let mut requester = testbed::requester();
        for (role, is_masked) in [
            (None, true),
            (Some(Role::Viewer), true),
            (Some(Role::Operator), false),
            (Some(Role::Admin), false),
        ] {
            requester.actor.role = role;
            assert_eq!(requester.reads_masked(), is_masked, "{role:?}");
        }
    }
}
