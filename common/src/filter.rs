//! Filters of destinations: which events are due there, by an expression over the event.
//!
//! The language is CEL, the Common Expression Language, without its parts for bytes, moments, types and messages. The parser
//! and the evaluation are ours, since both must be bounded: source, depth, and the steps that one event may take. An event
//! comes from anybody, and neither time nor memory may grow with the product of its parts. The tests hold both against
//! the crate `cel`.

mod check;
mod compute;
mod evaluate;
mod fault;
mod node;
mod parser;
mod token;
mod value;
mod view;

use std::fmt;
use std::sync::Arc;

use self::evaluate::evaluate;
use self::node::Node;

pub use self::view::EventView;

/// Maximum bytes of an expression.
pub const MAX_SOURCE: usize = 4096;

/// Maximum depth of an expression: of brackets, and of operations inside each other.
pub const MAX_DEPTH: usize = 32;

/// Maximum of steps for one event. A step is a node of the expression, an element of a list, or some bytes of a text.
pub const MAX_STEPS: usize = 100_000;

/// The expression of a destination, ready to be used.
#[derive(Clone)]
pub struct Filter {
    source: Arc<str>,
    root: Arc<Node>,
}

/// What a filter says of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The event is due.
    Match,
    /// It is not.
    NoMatch,
    /// The expression has no value for this event, such as one that asks for a member that is not there: the event is not
    /// due. The text says why, in the words of the expression and without a value of the event.
    Failed(String),
}

/// An error in an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct FilterError {
    /// The line, from 1.
    pub line: usize,
    /// The character in that line, from 1.
    pub column: usize,
    /// The expected and the found part.
    pub problem: String,
}

impl Filter {
    /// Reads an expression.
    ///
    /// # Errors
    /// It is not an expression, or not one whose value is a truth value, or beyond the bounds.
    pub fn parse(source: &str) -> Result<Self, FilterError> {
        match parser::parse(source) {
            Ok(root) => Ok(Self {
                source: source.into(),
                root: Arc::new(root),
            }),
            Err(mistake) => {
                let before = &source[..source.floor_char_boundary(mistake.at)];
                let line = before.rsplit('\n').next().unwrap_or_default();
                Err(FilterError {
                    line: 1 + before.matches('\n').count(),
                    column: 1 + line.chars().count(),
                    problem: mistake.problem,
                })
            }
        }
    }

    /// Whether an event is due.
    pub fn judge(&self, event: &EventView<'_>) -> Verdict {
        match evaluate(&self.root, event) {
            Ok(true) => Verdict::Match,
            Ok(false) => Verdict::NoMatch,
            Err(stop) => Verdict::Failed(stop.text(&self.source)),
        }
    }

    /// The expression as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.source).finish()
    }
}

#[cfg(test)]
mod tests;
