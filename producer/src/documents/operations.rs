//! The operations: one for each method of each path.

mod confirm;
mod follow;
mod house;
mod publish;

use super::facts::Facts;
use super::operation::Operation;

/// Every operation of the door.
pub(super) fn all(facts: Facts<'_>) -> Vec<Operation> {
    let mut all = vec![
        publish::signup(),
        publish::processing(),
        publish::events(facts),
        publish::source(),
        confirm::open(),
        confirm::press(),
        follow::event(),
        follow::live(),
        follow::cancel(),
        house::docs(),
        house::openapi(),
        house::asyncapi(),
        house::schema(facts),
        house::livez(),
        house::readyz(),
        house::metrics(),
    ];
    if facts.door.has_form() {
        all.push(house::page());
    }
    all
}
