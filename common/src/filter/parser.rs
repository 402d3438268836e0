//! Reading an expression.

mod calls;

use super::check::shape;
use super::node::{Kind, Node, Operator, Relation, Shape};
use super::token::{Mistake, Token, Word, tokens};
use super::value::Value;
use super::{MAX_DEPTH, MAX_SOURCE};

/// Words that CEL keeps for later.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "namespace",
    "package",
    "return",
    "var",
    "void",
    "while",
];

type Parsed<T = Node> = Result<T, Mistake>;

/// The expression in `source`, whose value is a truth value as far as the expression alone tells.
pub(super) fn parse(source: &str) -> Parsed {
    if source.len() > MAX_SOURCE {
        let problem = format!(
            "expected at most {MAX_SOURCE} bytes, found {}",
            source.len()
        );
        return Err(Mistake::new(0, problem));
    }
    let mut parser = Parser {
        tokens: tokens(source)?,
        next: 0,
        nesting: 0,
        variables: Vec::new(),
    };
    let root = parser.expression()?;
    if *parser.word() != Word::End {
        return Err(parser.found("an operator or the end"));
    }
    match root.shape {
        None | Some(Shape::Truth) => Ok(root),
        Some(other) => {
            let problem = format!("expected a truth value, found {}", other.words());
            Err(Mistake::new(root.at.start, problem))
        }
    }
}

struct Parser<'s> {
    tokens: Vec<Token<'s>>,
    /// The place of the next token.
    next: usize,
    /// How many expressions are open.
    nesting: usize,
    /// The variables of the macros that are open.
    variables: Vec<&'s str>,
}

impl<'s> Parser<'s> {
    fn word(&self) -> &Word<'s> {
        self.tokens
            .get(self.next)
            .map_or(&Word::End, |token| &token.word)
    }

    /// The first byte of the next token.
    fn start(&self) -> usize {
        self.tokens.get(self.next).map_or(0, |token| token.at)
    }

    /// The byte behind the last token.
    fn end(&self) -> usize {
        let last = self.next.checked_sub(1);
        last.and_then(|last| self.tokens.get(last))
            .map_or(0, |token| token.end)
    }

    fn found(&self, expected: &str) -> Mistake {
        let problem = format!("expected {expected}, found {}", self.word().kind());
        Mistake::new(self.start(), problem)
    }

    /// Takes the next token if it is this sign, or this word.
    fn take(&mut self, sign: &str) -> bool {
        let is_it = match self.word() {
            Word::Sign(it) => *it == sign,
            Word::Name(it) => *it == sign,
            _ => false,
        };
        self.next += usize::from(is_it);
        is_it
    }

    fn expect(&mut self, sign: &str) -> Parsed<()> {
        if self.take(sign) {
            return Ok(());
        }
        Err(self.found(&format!("`{sign}`")))
    }

    fn name(&mut self, expected: &str) -> Parsed<&'s str> {
        match *self.word() {
            Word::Name(name) => {
                self.next += 1;
                Ok(name)
            }
            _ => Err(self.found(expected)),
        }
    }

    /// A node from `start` to here.
    fn node(&self, start: usize, kind: Kind) -> Parsed {
        let parts = kind.parts();
        let depth = 1 + parts.iter().map(|part| part.depth).max().unwrap_or(0);
        if depth > MAX_DEPTH {
            return Err(too_deep(start));
        }
        Ok(Node {
            shape: shape(&kind)?,
            at: start..self.end(),
            depth,
            kind,
        })
    }

    fn expression(&mut self) -> Parsed {
        self.nesting += 1;
        if self.nesting > MAX_DEPTH {
            return Err(too_deep(self.start()));
        }
        let start = self.start();
        let condition = self.chain("||")?;
        let node = if self.take("?") {
            let yes = self.chain("||")?;
            self.expect(":")?;
            let no = self.expression()?;
            self.node(start, Kind::If(Box::new([condition, yes, no])))?
        } else {
            condition
        };
        self.nesting -= 1;
        Ok(node)
    }

    /// Conditions with `||` between them, each of conditions with `&&` between them.
    fn chain(&mut self, sign: &str) -> Parsed {
        let start = self.start();
        let part = |parser: &mut Self| match sign {
            "||" => parser.chain("&&"),
            _ => parser.relation(),
        };
        let first = part(self)?;
        if !self.take(sign) {
            return Ok(first);
        }
        let mut nodes = vec![first];
        loop {
            nodes.push(part(self)?);
            if !self.take(sign) {
                break;
            }
        }
        let kind = match sign {
            "||" => Kind::Or(nodes),
            _ => Kind::And(nodes),
        };
        self.node(start, kind)
    }

    fn relation(&mut self) -> Parsed {
        let start = self.start();
        let mut left = self.sum()?;
        loop {
            let relation = match self.word() {
                Word::Sign("==") => Relation::Equal,
                Word::Sign("!=") => Relation::Unequal,
                Word::Sign("<") => Relation::Less,
                Word::Sign("<=") => Relation::LessOrEqual,
                Word::Sign(">") => Relation::Greater,
                Word::Sign(">=") => Relation::GreaterOrEqual,
                Word::Name("in") => Relation::In,
                _ => return Ok(left),
            };
            self.next += 1;
            let right = self.sum()?;
            left = self.node(start, Kind::Compare(relation, Box::new([left, right])))?;
        }
    }

    fn sum(&mut self) -> Parsed {
        let start = self.start();
        let mut left = self.product()?;
        loop {
            let operator = match self.word() {
                Word::Sign("+") => Operator::Add,
                Word::Sign("-") => Operator::Subtract,
                _ => return Ok(left),
            };
            self.next += 1;
            let right = self.product()?;
            left = self.node(start, Kind::Compute(operator, Box::new([left, right])))?;
        }
    }

    fn product(&mut self) -> Parsed {
        let start = self.start();
        let mut left = self.unary()?;
        loop {
            let operator = match self.word() {
                Word::Sign("*") => Operator::Multiply,
                Word::Sign("/") => Operator::Divide,
                Word::Sign("%") => Operator::Remainder,
                _ => return Ok(left),
            };
            self.next += 1;
            let right = self.unary()?;
            left = self.node(start, Kind::Compute(operator, Box::new([left, right])))?;
        }
    }

    /// Signs before a value: two of them cancel each other.
    fn unary(&mut self) -> Parsed {
        let start = self.start();
        for sign in ["!", "-"] {
            let mut signs = 0;
            while self.take(sign) {
                signs += 1;
            }
            if signs == 0 {
                continue;
            }
            let node = self.value()?;
            if signs % 2 == 0 {
                return Ok(node);
            }
            let kind = match (sign, node.kind) {
                ("!", kind) => Kind::Not(Box::new(Node { kind, ..node })),
                (_, Kind::Literal(Value::Whole(whole))) => {
                    if whole > -i128::from(i64::MIN) {
                        let problem = "expected a whole number from -9223372036854775808 on";
                        return Err(Mistake::new(start, problem));
                    }
                    Kind::Literal(Value::Whole(-whole))
                }
                (_, Kind::Literal(Value::Decimal(decimal))) => {
                    Kind::Literal(Value::Decimal(-decimal))
                }
                (_, kind) => Kind::Negate(Box::new(Node { kind, ..node })),
            };
            return self.node(start, kind);
        }
        self.value()
    }

    /// A value, and the members and calls behind it.
    fn value(&mut self) -> Parsed {
        let start = self.start();
        let mut node = self.primary()?;
        loop {
            if self.take("[") {
                let index = self.expression()?;
                self.expect("]")?;
                node = self.node(start, Kind::Index(Box::new([node, index])))?;
            } else if self.take(".") {
                let place = self.start();
                let name = self.name("the name of a member")?;
                node = if self.take("(") {
                    self.method(start, place, node, name)?
                } else {
                    self.node(start, Kind::Member(Box::new(node), name.to_owned()))?
                };
            } else {
                return Ok(node);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let start = self.start();
        let literal = match self.word() {
            Word::Text(text) => Value::text(text.as_str()),
            Word::Whole(whole) => Value::Whole(*whole),
            Word::Decimal(decimal) => Value::Decimal(*decimal),
            Word::Name("true") => Value::Truth(true),
            Word::Name("false") => Value::Truth(false),
            Word::Name("null") => Value::Null,
            Word::Sign("(") => {
                self.next += 1;
                let mut node = self.expression()?;
                self.expect(")")?;
                node.at = start..self.end();
                return Ok(node);
            }
            Word::Sign("[") => {
                self.next += 1;
                let elements = self.list("]")?;
                return self.node(start, Kind::List(elements));
            }
            Word::Name(name) if *name != "in" => {
                let name = *name;
                self.next += 1;
                return self.named(start, name);
            }
            Word::Name(_) | Word::Sign(_) | Word::End => {
                return Err(self.found("a value, such as data.plan, \"pro\" or 10"));
            }
        };
        self.next += 1;
        self.node(start, Kind::Literal(literal))
    }

    /// Expressions up to the closing sign. The last one may have a comma behind it.
    fn list(&mut self, closing: &str) -> Parsed<Vec<Node>> {
        let mut nodes = Vec::new();
        while !self.take(closing) {
            nodes.push(self.expression()?);
            if !self.take(",") {
                self.expect(closing)?;
                break;
            }
        }
        Ok(nodes)
    }
}

fn too_deep(at: usize) -> Mistake {
    let problem = format!("expected at most {MAX_DEPTH} levels inside each other, found more");
    Mistake::new(at, problem)
}
