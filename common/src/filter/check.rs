//! The shape of the value of a part, where the expression alone tells. What can have no value is refused at the start.

use super::node::{Each, Function, Kind, Macro, Node, Operator, Relation, Shape};
use super::token::Mistake;
use super::view::NAMES;

type Known = Result<Option<Shape>, Mistake>;

/// The shape of a new part, whose own parts are known.
pub(super) fn shape(kind: &Kind) -> Known {
    match kind {
        Kind::Literal(value) => Ok(Some(value.shape())),
        Kind::List(_) => Ok(Some(Shape::List)),
        Kind::Attribute(place) => Ok(match NAMES.get(*place) {
            Some(&"data") | None => None,
            Some(&"extensions") => Some(Shape::Object),
            Some(_) => Some(Shape::Text),
        }),
        Kind::Variable(_) => Ok(None),
        Kind::Member(of, _) => expect(of, &[Shape::Object], "an object").map(|()| None),
        Kind::Has(of, _) => {
            expect(of, &[Shape::Object], "an object")?;
            Ok(Some(Shape::Truth))
        }
        Kind::HasAttribute(_) => Ok(Some(Shape::Truth)),
        Kind::Index(parts) => {
            let [of, index] = &**parts;
            expect(of, &[Shape::Object, Shape::List], "a list or an object")?;
            expect(index, &[Shape::Text, Shape::Number], "a text or a number")?;
            Ok(None)
        }
        Kind::Not(of) => {
            condition(of)?;
            Ok(Some(Shape::Truth))
        }
        Kind::Negate(of) => {
            expect(of, &[Shape::Number], "a number")?;
            Ok(Some(Shape::Number))
        }
        Kind::And(nodes) | Kind::Or(nodes) => {
            nodes.iter().try_for_each(condition)?;
            Ok(Some(Shape::Truth))
        }
        Kind::If(parts) => {
            let [of, yes, no] = &**parts;
            condition(of)?;
            Ok(yes.shape.filter(|shape| no.shape == Some(*shape)))
        }
        Kind::Compare(relation, parts) => {
            compare(*relation, &parts[0], &parts[1])?;
            Ok(Some(Shape::Truth))
        }
        Kind::Compute(operator, parts) => compute(*operator, &parts[0], &parts[1]),
        Kind::Each(each) => macro_shape(each),
        Kind::Call(function, arguments) => call(*function, arguments),
        Kind::Matches(text, _) => {
            expect(text, &[Shape::Text], "a text")?;
            Ok(Some(Shape::Truth))
        }
    }
}

/// Refuses a part that is known to have another shape.
fn expect(node: &Node, shapes: &[Shape], words: &str) -> Result<(), Mistake> {
    match node.shape {
        Some(found) if !shapes.contains(&found) => {
            let problem = format!("expected {words}, found {}", found.words());
            Err(Mistake::new(node.at.start, problem))
        }
        _ => Ok(()),
    }
}

fn condition(node: &Node) -> Result<(), Mistake> {
    expect(node, &[Shape::Truth], "a truth value")
}

fn compare(relation: Relation, left: &Node, right: &Node) -> Result<(), Mistake> {
    if relation == Relation::In {
        return expect(
            right,
            &[Shape::List, Shape::Object],
            "a list or an object behind `in`",
        );
    }
    let is_equality = matches!(relation, Relation::Equal | Relation::Unequal);
    if !is_equality {
        let ordered = [Shape::Number, Shape::Text, Shape::Truth];
        expect(left, &ordered, "a number or a text")?;
        expect(right, &ordered, "a number or a text")?;
    }
    match (left.shape, right.shape) {
        // Anything may be null.
        (Some(one), Some(other))
            if one != other && (!is_equality || ![one, other].contains(&Shape::Null)) =>
        {
            let problem = format!(
                "expected {} to compare with, found {}",
                one.words(),
                other.words()
            );
            Err(Mistake::new(right.at.start, problem))
        }
        _ => Ok(()),
    }
}

fn compute(operator: Operator, left: &Node, right: &Node) -> Known {
    if operator != Operator::Add {
        expect(left, &[Shape::Number], "a number")?;
        expect(right, &[Shape::Number], "a number")?;
        return Ok(Some(Shape::Number));
    }
    let added = [Shape::Number, Shape::Text, Shape::List];
    expect(left, &added, "a number, a text or a list")?;
    match left.shape {
        Some(shape) => expect(right, &[shape], shape.words())?,
        None => expect(right, &added, "a number, a text or a list")?,
    }
    Ok(left.shape.or(right.shape))
}

fn macro_shape(each: &Each) -> Known {
    expect(
        &each.over,
        &[Shape::List, Shape::Object],
        "a list or an object",
    )?;
    each.condition.as_ref().map_or(Ok(()), condition)?;
    match each.what {
        Macro::Map => Ok(Some(Shape::List)),
        Macro::Filter => {
            condition(&each.body)?;
            Ok(Some(Shape::List))
        }
        Macro::All | Macro::Exists | Macro::ExistsOne => {
            condition(&each.body)?;
            Ok(Some(Shape::Truth))
        }
    }
}

fn call(function: Function, arguments: &[Node]) -> Known {
    let plain = [Shape::Number, Shape::Text];
    let (shapes, words, made): (&[Shape], &str, Shape) = match function {
        Function::Size => (
            &[Shape::Text, Shape::List, Shape::Object],
            "a text, a list or an object",
            Shape::Number,
        ),
        Function::Contains | Function::StartsWith | Function::EndsWith => {
            (&[Shape::Text], "a text", Shape::Truth)
        }
        Function::Int | Function::Uint | Function::Double => {
            (&plain, "a number or a text", Shape::Number)
        }
        Function::String => (
            &[Shape::Number, Shape::Text, Shape::Truth],
            "a number, a text or a truth value",
            Shape::Text,
        ),
    };
    for argument in arguments {
        expect(argument, shapes, words)?;
    }
    Ok(Some(made))
}
