//! A parsed expression.

use std::ops::Range;

use regex::Regex;

use super::value::Value;

/// A part of an expression.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Its place in the source.
    pub(super) at: Range<usize>,
    /// How many nodes are inside each other here, this one included.
    pub(super) depth: usize,
    /// The shape of its value, where the expression alone tells.
    pub(super) shape: Option<Shape>,
}

#[derive(Debug)]
pub(super) enum Kind {
    Literal(Value<'static>),
    List(Vec<Node>),
    /// A member of the event, by its place in [`NAMES`](super::view::NAMES).
    Attribute(usize),
    /// The variable of a macro, by its place among those around it.
    Variable(usize),
    Member(Box<Node>, String),
    Index(Box<[Node; 2]>),
    /// `has(a.b)`
    Has(Box<Node>, String),
    /// `has(subject)`
    HasAttribute(usize),
    Not(Box<Node>),
    Negate(Box<Node>),
    /// `&&`
    And(Vec<Node>),
    /// `||`
    Or(Vec<Node>),
    If(Box<[Node; 3]>),
    Compare(Relation, Box<[Node; 2]>),
    Compute(Operator, Box<[Node; 2]>),
    Each(Box<Each>),
    Call(Function, Vec<Node>),
    Matches(Box<Node>, Regex),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// A macro over the elements of a list, or the names of an object.
#[derive(Debug)]
pub(super) struct Each {
    pub(super) what: Macro,
    pub(super) over: Node,
    /// The second of three arguments of `map`.
    pub(super) condition: Option<Node>,
    pub(super) body: Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Macro {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
}

impl Macro {
    /// The macro with this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "all" => Self::All,
            "exists" => Self::Exists,
            "exists_one" => Self::ExistsOne,
            "map" => Self::Map,
            "filter" => Self::Filter,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Int,
    Uint,
    Double,
    String,
}

impl Function {
    /// The function with this name and number of arguments, called behind a dot (`is_method`: the value before the dot is
    /// the first argument) or by itself.
    pub(super) fn named(name: &str, arguments: usize, is_method: bool) -> Option<Self> {
        Some(match (name, arguments, is_method) {
            ("size", 1, _) => Self::Size,
            ("contains", 2, true) => Self::Contains,
            ("startsWith", 2, true) => Self::StartsWith,
            ("endsWith", 2, true) => Self::EndsWith,
            ("int", 1, false) => Self::Int,
            ("uint", 1, false) => Self::Uint,
            ("double", 1, false) => Self::Double,
            ("string", 1, false) => Self::String,
            _ => return None,
        })
    }
}

/// The kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Null,
    Truth,
    Number,
    Text,
    List,
    Object,
}

impl Shape {
    /// In the words of the errors.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Truth => "a truth value",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }
}

impl Kind {
    /// The parts that are evaluated for it.
    pub(super) fn parts(&self) -> Vec<&Node> {
        match self {
            Self::Literal(_) | Self::Attribute(_) | Self::Variable(_) | Self::HasAttribute(_) => {
                Vec::new()
            }
            Self::List(nodes) | Self::And(nodes) | Self::Or(nodes) | Self::Call(_, nodes) => {
                nodes.iter().collect()
            }
            Self::Member(node, _)
            | Self::Has(node, _)
            | Self::Not(node)
            | Self::Negate(node)
            | Self::Matches(node, _) => vec![node],
            Self::Index(nodes) | Self::Compare(_, nodes) | Self::Compute(_, nodes) => {
                nodes.iter().collect()
            }
            Self::If(nodes) => nodes.iter().collect(),
            Self::Each(each) => {
                let Each {
                    over,
                    condition,
                    body,
                    ..
                } = &**each;
                [Some(over), condition.as_ref(), Some(body)]
                    .into_iter()
                    .flatten()
                    .collect()
            }
        }
    }
}
