//! Numbers and texts that an expression makes.

use std::sync::Arc;

use super::fault::What;
use super::node::{Function, Operator, Shape};
use super::value::Value;

/// The whole numbers.
const LEAST: i128 = i64::MIN as i128;
const MOST: i128 = u64::MAX as i128;

/// Adds, subtracts and so on. A whole number beside a decimal one counts as decimal: JSON does not tell 10 from 10.0.
pub(super) fn compute<'v>(
    operator: Operator,
    left: &Value<'v>,
    right: &Value<'v>,
) -> Result<Value<'v>, What> {
    match (left, right) {
        (Value::Whole(one), Value::Whole(other)) => whole(operator, *one, *other),
        (Value::Decimal(one), Value::Decimal(other)) => decimal(operator, *one, *other),
        (Value::Whole(one), Value::Decimal(other)) => decimal(operator, *one as f64, *other),
        (Value::Decimal(one), Value::Whole(other)) => decimal(operator, *one, *other as f64),
        (Value::Text(one), Value::Text(other)) if operator == Operator::Add => {
            Ok(Value::text([&**one, &**other].concat()))
        }
        (Value::List(one), Value::List(other)) if operator == Operator::Add => {
            let both = one.iter().chain(&**other).cloned().collect();
            Ok(Value::List(Arc::new(both)))
        }
        (one, other) => Err(wrong(operator, one.shape(), other.shape())),
    }
}

fn wrong(operator: Operator, one: Shape, other: Shape) -> What {
    let can = |shape: Shape| match shape {
        Shape::Number => true,
        Shape::Text | Shape::List => operator == Operator::Add,
        Shape::Null | Shape::Truth | Shape::Object => false,
    };
    match one {
        Shape::Text if can(one) => What::Expected("a text to add", other),
        Shape::List if can(one) => What::Expected("a list to add", other),
        Shape::Number => What::Expected("two numbers", other),
        _ => What::Expected("two numbers", one),
    }
}

fn whole<'v>(operator: Operator, one: i128, other: i128) -> Result<Value<'v>, What> {
    let divides = matches!(operator, Operator::Divide | Operator::Remainder);
    if divides && other == 0 {
        return Err(What::DividedByZero);
    }
    let result = match operator {
        Operator::Add => one.checked_add(other),
        Operator::Subtract => one.checked_sub(other),
        Operator::Multiply => one.checked_mul(other),
        Operator::Divide => one.checked_div(other),
        Operator::Remainder => one.checked_rem(other),
    };
    in_range(result)
}

fn in_range<'v>(whole: Option<i128>) -> Result<Value<'v>, What> {
    let whole = whole.filter(|whole| (LEAST..=MOST).contains(whole));
    whole.map(Value::Whole).ok_or(What::TooLarge)
}

fn decimal<'v>(operator: Operator, one: f64, other: f64) -> Result<Value<'v>, What> {
    Ok(Value::Decimal(match operator {
        Operator::Add => one + other,
        Operator::Subtract => one - other,
        Operator::Multiply => one * other,
        Operator::Divide => one / other,
        Operator::Remainder => return Err(What::Expected("two whole numbers", Shape::Number)),
    }))
}

/// `-value`
pub(super) fn negate<'v>(value: &Value<'v>) -> Result<Value<'v>, What> {
    match value {
        Value::Whole(whole) => in_range(whole.checked_neg()),
        Value::Decimal(decimal) => Ok(Value::Decimal(-decimal)),
        other => Err(What::Expected("a number", other.shape())),
    }
}

/// `int(value)` and the like.
pub(super) fn convert<'v>(function: Function, value: &Value<'v>) -> Result<Value<'v>, What> {
    match function {
        Function::Int => integer(value, LEAST, i64::MAX.into()),
        Function::Uint => integer(value, 0, MOST),
        Function::Double => match value {
            Value::Whole(whole) => Ok(Value::Decimal(*whole as f64)),
            Value::Decimal(_) => Ok(value.clone()),
            Value::Text(text) => {
                let decimal: Option<f64> = text.parse().ok();
                let decimal = decimal.filter(|it| it.is_finite());
                decimal.map(Value::Decimal).ok_or(What::NotANumber)
            }
            other => Err(What::Expected("a number or a text", other.shape())),
        },
        _ => match value {
            Value::Truth(truth) => Ok(Value::text(truth.to_string())),
            Value::Whole(whole) => Ok(Value::text(whole.to_string())),
            Value::Decimal(decimal) => Ok(Value::text(decimal.to_string())),
            Value::Text(_) => Ok(value.clone()),
            other => {
                let expected = "a number, a text or a truth value";
                Err(What::Expected(expected, other.shape()))
            }
        },
    }
}

fn integer<'v>(value: &Value<'v>, least: i128, most: i128) -> Result<Value<'v>, What> {
    let whole = match value {
        Value::Whole(whole) => *whole,
        // Far outside it becomes the nearest one that there is, which is out of range as well; NaN becomes 0.
        Value::Decimal(decimal) if decimal.is_nan() => return Err(What::TooLarge),
        Value::Decimal(decimal) => *decimal as i128,
        Value::Text(text) => text.parse().map_err(|_| What::NotANumber)?,
        other => return Err(What::Expected("a number or a text", other.shape())),
    };
    if (least..=most).contains(&whole) {
        Ok(Value::Whole(whole))
    } else {
        Err(What::TooLarge)
    }
}
