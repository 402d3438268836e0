//! Types as small numbers: a survey keeps one for each entry.

use std::collections::HashMap;

/// Maximum of types that are told apart: a publisher may invent any routing key.
const MAX_KINDS: usize = 1_000;

/// The types that were met.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Kinds {
    /// The number of a type.
    pub(super) fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        if self.names.len() >= MAX_KINDS {
            return u32::MAX;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }

    /// The type of a number.
    pub(super) fn name(&self, number: u32) -> &str {
        let name = usize::try_from(number)
            .ok()
            .and_then(|at| self.names.get(at));
        name.map_or("one of many types", String::as_str)
    }
}
