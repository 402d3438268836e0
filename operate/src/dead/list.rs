//! The list of dead letters, a page at a time.

use common::store::{DeadFilter, DeadPage, DeadSummary, Store, StoreError};

use crate::page::{Cursor, List};

/// A page of at most `limit` dead letters, newest first, and where the next page begins.
///
/// # Errors
/// The database cannot say.
pub async fn page(
    store: &dyn Store,
    filter: &DeadFilter,
    after: Option<Cursor>,
    limit: u32,
) -> Result<List<DeadSummary>, StoreError> {
    let page = DeadPage {
        after: after.map(|cursor| (cursor.at, cursor.id)),
        limit: limit + 1,
    };
    let items = store.dead_page(filter, page).await?;
    Ok(List::page(items, limit, |letter| Cursor {
        at: letter.last_failed_at.0,
        id: letter.id,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed;
    use common::store::DeadLetters as _;

    #[tokio::test]
    async fn pages_hold_every_letter_once_and_the_last_one_says_so() {
        let store = testbed::store().await;
        let letters: Vec<_> = (0..7).map(|_| testbed::letter("longshore.store")).collect();
        store.keep_dead(&letters).await.unwrap();
        let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = page(&store, &DeadFilter::default(), after, 3)
                .await
                .unwrap();
            seen.extend(page.items.iter().map(|letter| letter.id));
            pages += 1;
            let Some(next) = page.next else { break };
            after = Some(next.parse().unwrap());
        }
        let distinct: std::collections::HashSet<_> = seen.iter().collect();
        assert_eq!((pages, seen.len(), distinct.len()), (3, 7, 7));
    }
}
