//! The values of calls and macros.

use std::sync::Arc;

use super::super::compute::convert;
use super::super::fault::What;
use super::super::node::{Each, Function, Macro, Node};
use super::super::value::Value;
use super::{Evaluated, Evaluation, Vote, fault};

impl<'v> Evaluation<'v> {
    pub(super) fn call(
        &mut self,
        node: &Node,
        function: Function,
        arguments: &[Node],
    ) -> Evaluated<Value<'v>> {
        let Some(first) = arguments.first() else {
            return Err(fault(node, What::NoElement));
        };
        let value = self.value(first)?;
        if let Value::Text(text) = &value {
            self.spend_on_text(text.len())?;
        }
        let size = |size: usize| Ok(Value::Whole(size as i128));
        match (function, &value) {
            (Function::Size, Value::Text(text)) => size(text.chars().count()),
            (Function::Size, Value::List(values)) => size(values.len()),
            (Function::Size, Value::Object(members)) => size(members.len()),
            (Function::Size, other) => {
                let what = What::Expected("a text, a list or an object", other.shape());
                Err(fault(first, what))
            }
            (Function::Contains | Function::StartsWith | Function::EndsWith, _) => {
                let sought = arguments.get(1).unwrap_or(first);
                let other = self.value(sought)?;
                let (Value::Text(text), Value::Text(part)) = (&value, &other) else {
                    let is_first = !matches!(value, Value::Text(_));
                    let (wrong, found) = if is_first {
                        (first, value.shape())
                    } else {
                        (sought, other.shape())
                    };
                    return Err(fault(wrong, What::Expected("a text", found)));
                };
                self.spend_on_text(part.len())?;
                Ok(Value::Truth(match function {
                    Function::Contains => text.contains(&**part),
                    Function::StartsWith => text.starts_with(&**part),
                    _ => text.ends_with(&**part),
                }))
            }
            (function, value) => convert(function, value).map_err(|what| fault(node, what)),
        }
    }

    /// The elements that a macro goes through.
    fn elements(&mut self, over: &Node) -> Evaluated<Vec<Value<'v>>> {
        let elements: Vec<Value<'v>> = match self.value(over)? {
            Value::List(values) => {
                self.spend(values.len() / 8)?;
                values.to_vec()
            }
            Value::Object(members) => {
                self.spend(members.len() / 8)?;
                let names = members.iter().map(|(name, _)| name.clone());
                names.map(Value::Text).collect()
            }
            other => {
                let what = What::Expected("a list or an object", other.shape());
                return Err(fault(over, what));
            }
        };
        Ok(elements)
    }

    /// The truth value of a part for an element.
    fn truth_of(&mut self, element: Value<'v>, node: &Node) -> Evaluated<bool> {
        self.variables.push(element);
        let truth = self.truth(node);
        self.variables.pop();
        truth
    }

    pub(super) fn each(&mut self, each: &Each) -> Evaluated<Value<'v>> {
        let elements = self.elements(&each.over)?;
        match each.what {
            Macro::All | Macro::Exists => {
                let deciding = each.what == Macro::Exists;
                let mut vote = Vote::new(deciding);
                for element in elements {
                    let condition = self.truth_of(element, &each.body);
                    if vote.decides(condition)? {
                        return Ok(Value::Truth(deciding));
                    }
                }
                vote.undecided().map(Value::Truth)
            }
            Macro::ExistsOne => {
                let mut found = 0;
                for element in elements {
                    found += usize::from(self.truth_of(element, &each.body)?);
                }
                Ok(Value::Truth(found == 1))
            }
            Macro::Filter => {
                let mut kept = Vec::new();
                for element in elements {
                    if self.truth_of(element.clone(), &each.body)? {
                        kept.push(element);
                    }
                }
                Ok(Value::List(Arc::new(kept)))
            }
            Macro::Map => {
                let mut made = Vec::new();
                for element in elements {
                    if let Some(condition) = &each.condition
                        && !self.truth_of(element.clone(), condition)?
                    {
                        continue;
                    }
                    self.variables.push(element);
                    let value = self.value(&each.body);
                    self.variables.pop();
                    made.push(value?);
                }
                Ok(Value::List(Arc::new(made)))
            }
        }
    }
}
