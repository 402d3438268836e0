//! The value of an expression for an event, in a bounded number of steps.

mod calls;

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use super::MAX_STEPS;
use super::compute::{compute, negate};
use super::fault::{Fault, Stop, What};
use super::node::{Kind, Node, Operator, Relation};
use super::value::{Value, member};
use super::view::EventView;

/// How many bytes of a text one step compares or searches.
const BYTES_OF_A_STEP: usize = 64;

/// How many bytes of a text one step matches with a pattern.
const BYTES_OF_A_MATCH: usize = 4;

type Evaluated<T> = Result<T, Stop>;

/// The truth value of an expression.
pub(super) fn evaluate(root: &Node, event: &EventView<'_>) -> Evaluated<bool> {
    let mut evaluation = Evaluation {
        event,
        variables: Vec::new(),
        steps: MAX_STEPS,
    };
    evaluation.truth(root)
}

struct Evaluation<'v> {
    event: &'v EventView<'v>,
    /// The values of the variables of the macros around the part.
    variables: Vec<Value<'v>>,
    /// How many steps are left.
    steps: usize,
}

/// The conditions of `&&`, `||`, `all` and `exists`. One of them may decide, whatever the others are.
struct Vote {
    deciding: bool,
    fault: Option<Fault>,
}

impl Vote {
    fn new(deciding: bool) -> Self {
        let fault = None;
        Self { deciding, fault }
    }

    /// Whether this condition decides.
    fn decides(&mut self, condition: Evaluated<bool>) -> Evaluated<bool> {
        match condition {
            Ok(truth) => Ok(truth == self.deciding),
            Err(Stop::Fault(fault)) => {
                self.fault.get_or_insert(fault);
                Ok(false)
            }
            Err(Stop::Spent) => Err(Stop::Spent),
        }
    }

    /// The result, where none of them decided.
    fn undecided(self) -> Evaluated<bool> {
        self.fault
            .map_or(Ok(!self.deciding), |fault| Err(Stop::Fault(fault)))
    }
}

fn fault(node: &Node, what: What) -> Stop {
    at(&node.at, what)
}

fn at(place: &Range<usize>, what: What) -> Stop {
    let at = place.clone();
    Stop::Fault(Fault { at, what })
}

impl<'v> Evaluation<'v> {
    fn spend(&mut self, steps: usize) -> Evaluated<()> {
        self.steps = self.steps.checked_sub(steps).ok_or(Stop::Spent)?;
        Ok(())
    }

    fn spend_on_text(&mut self, bytes: usize) -> Evaluated<()> {
        self.spend(bytes / BYTES_OF_A_STEP)
    }

    fn truth(&mut self, node: &Node) -> Evaluated<bool> {
        match self.value(node)? {
            Value::Truth(truth) => Ok(truth),
            other => Err(fault(node, What::Expected("a truth value", other.shape()))),
        }
    }

    fn value(&mut self, node: &Node) -> Evaluated<Value<'v>> {
        self.spend(1)?;
        match &node.kind {
            Kind::Literal(value) => Ok(value.clone()),
            Kind::List(nodes) => {
                let values: Evaluated<Vec<Value<'v>>> =
                    nodes.iter().map(|node| self.value(node)).collect();
                Ok(Value::List(Arc::new(values?)))
            }
            Kind::Attribute(place) => {
                let value = self.event.member(*place);
                value.cloned().ok_or_else(|| fault(node, What::NoMember))
            }
            Kind::Variable(place) => {
                let value = self.variables.get(*place);
                value.cloned().ok_or_else(|| fault(node, What::NoMember))
            }
            Kind::Member(of, name) => {
                let value = self.member_of(of, name)?;
                value.ok_or_else(|| fault(node, What::NoMember))
            }
            Kind::Index(parts) => self.element(node, &parts[0], &parts[1]),
            Kind::Has(of, name) => Ok(Value::Truth(self.member_of(of, name)?.is_some())),
            Kind::HasAttribute(place) => Ok(Value::Truth(self.event.member(*place).is_some())),
            Kind::Not(of) => Ok(Value::Truth(!self.truth(of)?)),
            Kind::Negate(of) => negate(&self.value(of)?).map_err(|what| fault(node, what)),
            Kind::And(nodes) => self.vote(nodes, false).map(Value::Truth),
            Kind::Or(nodes) => self.vote(nodes, true).map(Value::Truth),
            Kind::If(parts) => {
                let [condition, yes, no] = &**parts;
                let chosen = if self.truth(condition)? { yes } else { no };
                self.value(chosen)
            }
            Kind::Compare(relation, parts) => self
                .compare(node, *relation, &parts[0], &parts[1])
                .map(Value::Truth),
            Kind::Compute(operator, parts) => self.compute(node, *operator, &parts[0], &parts[1]),
            Kind::Each(each) => self.each(each),
            Kind::Call(function, arguments) => self.call(node, *function, arguments),
            Kind::Matches(of, pattern) => match self.value(of)? {
                Value::Text(text) => {
                    self.spend(text.len() / BYTES_OF_A_MATCH)?;
                    Ok(Value::Truth(pattern.is_match(&text)))
                }
                other => Err(fault(of, What::Expected("a text", other.shape()))),
            },
        }
    }

    /// The member of an object, if it has one with this name.
    fn member_of(&mut self, of: &Node, name: &str) -> Evaluated<Option<Value<'v>>> {
        match self.value(of)? {
            Value::Object(members) => Ok(member(&members, name).cloned()),
            other => Err(fault(of, What::Expected("an object", other.shape()))),
        }
    }

    /// `of[index]`
    fn element(&mut self, node: &Node, of: &Node, index: &Node) -> Evaluated<Value<'v>> {
        let container = self.value(of)?;
        let key = self.value(index)?;
        match (&container, &key) {
            (Value::Object(members), Value::Text(name)) => {
                self.spend_on_text(name.len())?;
                let found = member(members, name).cloned();
                found.ok_or_else(|| fault(node, What::NoMember))
            }
            (Value::List(values), Value::Whole(_) | Value::Decimal(_)) => {
                let place = match key {
                    Value::Whole(whole) => usize::try_from(whole).ok(),
                    Value::Decimal(decimal) if decimal >= 0.0 && decimal.fract() == 0.0 => {
                        Some(decimal as usize)
                    }
                    _ => None,
                };
                let value = place.and_then(|place| values.get(place));
                value.cloned().ok_or_else(|| fault(node, What::NoElement))
            }
            (Value::Object(_), _) => Err(fault(index, What::Expected("a text", key.shape()))),
            (Value::List(_), _) => Err(fault(index, What::Expected("a number", key.shape()))),
            _ => {
                let what = What::Expected("a list or an object", container.shape());
                Err(fault(of, what))
            }
        }
    }

    fn vote(&mut self, nodes: &[Node], deciding: bool) -> Evaluated<bool> {
        let mut vote = Vote::new(deciding);
        for node in nodes {
            let condition = self.truth(node);
            if vote.decides(condition)? {
                return Ok(deciding);
            }
        }
        vote.undecided()
    }

    fn compare(
        &mut self,
        node: &Node,
        relation: Relation,
        left: &Node,
        right: &Node,
    ) -> Evaluated<bool> {
        let one = self.value(left)?;
        let other = self.value(right)?;
        match relation {
            Relation::Equal => self.equal(&one, &other),
            Relation::Unequal => Ok(!self.equal(&one, &other)?),
            Relation::In => self.is_in(&one, &other, left, right),
            Relation::Less
            | Relation::LessOrEqual
            | Relation::Greater
            | Relation::GreaterOrEqual => {
                if let (Value::Text(one), Value::Text(other)) = (&one, &other) {
                    self.spend_on_text(one.len().min(other.len()))?;
                }
                let Some(order) = one.order(&other) else {
                    if is_nan(&one) || is_nan(&other) {
                        return Ok(false);
                    }
                    let what = What::Incomparable(one.shape(), other.shape());
                    return Err(fault(node, what));
                };
                Ok(match relation {
                    Relation::Less => order == Ordering::Less,
                    Relation::LessOrEqual => order != Ordering::Greater,
                    Relation::Greater => order == Ordering::Greater,
                    _ => order != Ordering::Less,
                })
            }
        }
    }

    /// Whether two values are equal. Numbers are by their value; values of two kinds never are.
    fn equal(&mut self, one: &Value<'v>, other: &Value<'v>) -> Evaluated<bool> {
        self.spend(1)?;
        match (one, other) {
            (Value::Null, Value::Null) => Ok(true),
            (Value::Text(one), Value::Text(other)) => {
                if one.len() != other.len() {
                    return Ok(false);
                }
                self.spend_on_text(one.len())?;
                Ok(**one == **other)
            }
            (Value::List(one), Value::List(other)) => {
                if one.len() != other.len() {
                    return Ok(false);
                }
                for (one, other) in one.iter().zip(&**other) {
                    if !self.equal(one, other)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::Object(one), Value::Object(other)) => {
                if one.len() != other.len() {
                    return Ok(false);
                }
                for ((name, one), (other_name, other)) in one.iter().zip(&**other) {
                    self.spend_on_text(name.len().min(other_name.len()))?;
                    if **name != **other_name || !self.equal(one, other)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => Ok(one.order(other) == Some(Ordering::Equal)),
        }
    }

    /// `value in container`
    fn is_in(
        &mut self,
        value: &Value<'v>,
        container: &Value<'v>,
        left: &Node,
        right: &Node,
    ) -> Evaluated<bool> {
        match container {
            Value::List(values) => {
                for element in &**values {
                    if self.equal(value, element)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Value::Object(members) => match value {
                Value::Text(name) => {
                    self.spend_on_text(name.len())?;
                    Ok(member(members, name).is_some())
                }
                Value::Whole(_) | Value::Decimal(_) | Value::Truth(_) => Ok(false),
                other => Err(fault(left, What::Expected("a text", other.shape()))),
            },
            other => {
                let what = What::Expected("a list or an object", other.shape());
                Err(fault(right, what))
            }
        }
    }

    fn compute(
        &mut self,
        node: &Node,
        operator: Operator,
        left: &Node,
        right: &Node,
    ) -> Evaluated<Value<'v>> {
        let one = self.value(left)?;
        let other = self.value(right)?;
        match (&one, &other) {
            (Value::Text(one), Value::Text(other)) => {
                self.spend_on_text(one.len() + other.len())?;
            }
            (Value::List(one), Value::List(other)) => self.spend(one.len() + other.len())?,
            _ => {}
        }
        compute(operator, &one, &other).map_err(|what| fault(node, what))
    }
}

fn is_nan(value: &Value<'_>) -> bool {
    matches!(value, Value::Decimal(decimal) if decimal.is_nan())
}
