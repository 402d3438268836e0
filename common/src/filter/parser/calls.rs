//! Reading names and calls.

use regex::RegexBuilder;

use super::super::node::{Each, Function, Kind, Macro, Node};
use super::super::token::Mistake;
use super::super::value::Value;
use super::super::view::{NAMES, place};
use super::{Parsed, Parser, RESERVED};

/// Maximum bytes of a compiled pattern.
const MAX_PATTERN: usize = 64 * 1024;

const FUNCTIONS: &str = "size, contains, startsWith, endsWith, matches, int, uint, double, string, has, all, exists, \
                         exists_one, map or filter";

impl<'s> Parser<'s> {
    /// A variable, a member of the event, or a call. Its name is taken.
    pub(super) fn named(&mut self, start: usize, name: &'s str) -> Parsed {
        if self.take("(") {
            return match name {
                "has" => self.has(start),
                _ => {
                    let arguments = self.list(")")?;
                    self.call(start, name, arguments, false)
                }
            };
        }
        if let Some(place) = self.variables.iter().rposition(|it| *it == name) {
            return self.node(start, Kind::Variable(place));
        }
        match place(name) {
            Some(place) => self.node(start, Kind::Attribute(place)),
            None => {
                let members = NAMES.join(", ");
                let problem = format!("expected one of {members}, found `{name}`");
                Err(Mistake::new(start, problem))
            }
        }
    }

    fn has(&mut self, start: usize) -> Parsed {
        let inside = self.start();
        let node = self.expression()?;
        self.expect(")")?;
        let kind = match node.kind {
            Kind::Member(of, name) => Kind::Has(of, name),
            Kind::Attribute(place) => Kind::HasAttribute(place),
            _ => {
                let problem = "expected a member, such as data.plan";
                return Err(Mistake::new(inside, problem));
            }
        };
        self.node(start, kind)
    }

    /// A call behind a dot; its opening bracket is taken.
    pub(super) fn method(&mut self, start: usize, place: usize, of: Node, name: &'s str) -> Parsed {
        if let Some(what) = Macro::named(name) {
            return self.each(start, what, of);
        }
        let mut arguments = vec![of];
        arguments.extend(self.list(")")?);
        let call = self.call(start, name, arguments, true);
        call.map_err(|mistake| Mistake {
            at: if mistake.at == start {
                place
            } else {
                mistake.at
            },
            ..mistake
        })
    }

    fn call(&self, start: usize, name: &str, arguments: Vec<Node>, is_method: bool) -> Parsed {
        let arguments = match (name, <[Node; 2]>::try_from(arguments)) {
            ("matches", Ok([text, pattern])) => return self.matches(start, text, &pattern),
            (_, Ok(two)) => Vec::from(two),
            (_, Err(others)) => others,
        };
        match Function::named(name, arguments.len(), is_method) {
            Some(function) => self.node(start, Kind::Call(function, arguments)),
            None => {
                let found = arguments.len() - usize::from(is_method);
                let dot = if is_method { "." } else { "" };
                let problem = format!(
                    "expected {FUNCTIONS} with its arguments, found `{dot}{name}` with {found}"
                );
                Err(Mistake::new(start, problem))
            }
        }
    }

    fn matches(&self, start: usize, text: Node, pattern: &Node) -> Parsed {
        let at = pattern.at.start;
        let Kind::Literal(Value::Text(pattern)) = &pattern.kind else {
            let problem = "expected a pattern in quotation marks";
            return Err(Mistake::new(at, problem));
        };
        let compiled = RegexBuilder::new(pattern).size_limit(MAX_PATTERN).build();
        let compiled = compiled.map_err(|error| {
            // Its text repeats the pattern in the lines before.
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            let why = last.strip_prefix("error: ").unwrap_or(last);
            Mistake::new(at, format!("expected a pattern: {why}"))
        })?;
        self.node(start, Kind::Matches(Box::new(text), compiled))
    }

    /// The arguments of a macro.
    fn each(&mut self, start: usize, what: Macro, over: Node) -> Parsed {
        let at = self.start();
        let variable = self.name("the name of a variable")?;
        if RESERVED.contains(&variable) || ["true", "false", "null", "in"].contains(&variable) {
            let problem = format!("expected the name of a variable, found `{variable}`");
            return Err(Mistake::new(at, problem));
        }
        self.expect(",")?;
        self.variables.push(variable);
        let mut body = self.expression()?;
        let mut condition = None;
        if what == Macro::Map && self.take(",") {
            condition = Some(body);
            body = self.expression()?;
        }
        self.variables.pop();
        self.expect(")")?;
        let each = Each {
            what,
            over,
            condition,
            body,
        };
        self.node(start, Kind::Each(Box::new(each)))
    }
}
