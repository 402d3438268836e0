//! Operators: people who look and mend, each with a role and a key.

use common::bootstrap::Failure;
use common::key::{Key, KeyId};
use common::store::{
    Actor, AuditAction, NewOperator, OperatorMade, OperatorRecord, Role, Store, StoreError,
};

use crate::page::List;
use crate::roles::{Requester, permit};
use crate::words::moment;

/// Maximum length of a name, in characters.
const MAX_NAME: usize = 64;

/// An operator who was just made. The key is shown once, and kept nowhere.
#[derive(Debug)]
pub struct Created {
    /// The id, which is also the public part of the key.
    pub id: KeyId,
    /// The key.
    pub key: Key,
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
}

/// Makes an operator.
///
/// # Errors
/// The name cannot be used or is taken, the role of `by` does not allow it, or the database failed.
pub async fn create(
    store: &dyn Store,
    name: &str,
    role: Role,
    by: &Requester,
) -> Result<Created, Failure> {
    check_name(name)?;
    let key = Key::generate().map_err(anyhow::Error::from)?;
    let id = key.id();
    let act = by.act(AuditAction::OperatorCreate, target(&id));
    permit(store, &act).await?;
    let operator = NewOperator {
        id: id.to_string(),
        name: name.to_owned(),
        role,
        key_hash: *key.hash().as_bytes(),
        act,
    };
    match store.operators().make_operator(&operator).await? {
        OperatorMade::Made => Ok(Created {
            id,
            key,
            name: operator.name,
            role,
        }),
        OperatorMade::NameTaken => Err(Failure::Usage(format!(
            "expected a name that no operator has, found {name:?}: `longshore operators list` shows who has it, and \
             `longshore operators revoke ID --why TEXT` frees it"
        ))),
    }
}

/// All operators, the newest first.
///
/// # Errors
/// The database cannot say.
pub async fn list(store: &dyn Store) -> Result<List<OperatorRecord>, StoreError> {
    Ok(List::whole(store.operators().all_operators().await?))
}

/// Revokes the key of an operator.
///
/// # Errors
/// `why` says nothing, nobody has this id, the role of `by` does not allow it, or the database failed.
pub async fn revoke(
    store: &dyn Store,
    id: &KeyId,
    why: String,
    by: &Requester,
) -> Result<OperatorRecord, Failure> {
    if why.trim().is_empty() {
        return Err(Failure::Usage(
            "expected --why to say why, found nothing".to_owned(),
        ));
    }
    let act = by.act(AuditAction::OperatorRevoke, target(id));
    let act = act.because(Some(why));
    permit(store, &act).await?;
    let revoked = store.operators().revoke_operator(id.as_str(), &act).await?;
    revoked.ok_or_else(|| {
        Failure::Usage(format!(
            "expected the id of an operator that `longshore operators list` shows, found {id}"
        ))
    })
}

/// The operator who has this key, and acts from `origin`.
///
/// # Errors
/// The text is not a key, nobody has the key, or it is revoked. The key is not repeated.
pub async fn authenticate(store: &dyn Store, key: &str, origin: String) -> Result<Actor, Failure> {
    let key = Key::parse(key).map_err(|error| Failure::Usage(error.to_string()))?;
    let known = store.operators().operator_of_key(*key.hash().as_bytes());
    match known.await? {
        Some(OperatorRecord {
            revoked_at: Some(at),
            name,
            ..
        }) => Err(Failure::Usage(format!(
            "expected a key that may be used, found the one of {name} (id {}), which was revoked at {}",
            key.id(),
            moment(at.0)
        ))),
        Some(operator) => Ok(Actor {
            who: format!("operator:{}", operator.name),
            role: Some(operator.role),
            origin,
        }),
        None => Err(Failure::Usage(format!(
            "expected the key of an operator, found one that no operator has (id {}): `longshore operators list` \
             shows the ids",
            key.id()
        ))),
    }
}

fn target(id: &KeyId) -> String {
    format!("operator:{id}")
}

/// A name stands in lists, in the record and in logs: one word is enough.
fn check_name(name: &str) -> Result<(), Failure> {
    let is_plain = |it: char| it.is_alphanumeric() || matches!(it, '.' | '_' | '-' | '@');
    let length = name.chars().count();
    if (1..=MAX_NAME).contains(&length) && name.chars().all(is_plain) {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "expected a name of 1 to {MAX_NAME} letters, digits, `.`, `_`, `-` or `@`, found {name:?}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed;

    fn said<T>(result: Result<T, Failure>) -> (u8, String) {
        let failure = result.err().expect("a failure");
        (failure.code(), failure.to_string())
    }

    #[tokio::test]
    async fn an_operator_acts_with_the_key_until_it_is_revoked() {
        let (store, admin) = (testbed::store().await, testbed::requester());
        let created = create(&store, "ada", Role::Viewer, &admin).await.unwrap();
        let known = || authenticate(&store, created.key.expose(), "desk".to_owned());
        let actor = known().await.unwrap();
        assert_eq!(
            (&*actor.who, actor.role, &*actor.origin),
            ("operator:ada", Some(Role::Viewer), "desk")
        );
        let listed = list(&store).await.unwrap().items;
        assert_eq!(listed[0].id, created.id.as_str());
        assert!(
            !serde_json::to_string(&listed)
                .unwrap()
                .contains(created.key.expose())
        );

        let (code, told) = said(revoke(&store, &created.id, " ".to_owned(), &admin).await);
        assert!(code == 2 && told.contains("--why"), "{told}");
        let why = || "left us".to_owned();
        let revoked = revoke(&store, &created.id, why(), &admin).await.unwrap();
        assert!(revoked.revoked_at.is_some());
        let (code, told) = said(known().await);
        assert!(code == 2 && told.contains("revoked"), "{told}");
        assert!(!told.contains(created.key.expose()), "{told}");
        let (code, told) = said(revoke(&store, &"00000000".parse().unwrap(), why(), &admin).await);
        assert!(code == 2 && told.contains("operators list"), "{told}");
    }

    #[tokio::test]
    async fn a_wrong_key_is_named_by_its_id_alone() {
        let store = testbed::store().await;
        let stranger = Key::generate().unwrap();
        let origin = || "desk".to_owned();
        let (code, told) = said(authenticate(&store, stranger.expose(), origin()).await);
        assert!(code == 2 && told.contains(stranger.id().as_str()), "{told}");
        assert!(!told.contains(stranger.expose()), "{told}");
        let (code, told) = said(authenticate(&store, "hunter2", origin()).await);
        assert!(code == 2 && !told.contains("hunter2"), "{told}");
    }

    #[tokio::test]
    async fn a_name_is_one_word_that_nobody_has() {
        let (store, admin) = (testbed::store().await, testbed::requester());
        for bad in ["", "two words", "new\nline", &"x".repeat(65)] {
            let (code, _) = said(create(&store, bad, Role::Viewer, &admin).await);
            assert_eq!(code, 2, "{bad:?}");
        }
        create(&store, "ada@example.com", Role::Viewer, &admin)
            .await
            .unwrap();
        let taken = create(&store, "ada@example.com", Role::Admin, &admin).await;
        assert!(said(taken).1.contains("that no operator has"));
        let mut operator = admin;
        operator.actor.role = Some(Role::Operator);
        let (code, told) = said(create(&store, "bob", Role::Admin, &operator).await);
        assert!(code == 1 && told.contains("needs the role admin"), "{told}");
    }
}
