//! The words of every engine for a topology that differs from the configuration.

/// A thing that is not there.
pub(super) fn missing(thing: &str) -> String {
    format!("expected this {thing}, found none; `longshore topology apply` declares it")
}

/// A thing that is there with another value of an argument.
pub(super) fn argument(
    thing: &str,
    name: &str,
    argument: &str,
    found: &str,
    expected: &str,
) -> String {
    let delete = match thing {
        "queue" => format!("drain and delete the queue {name:?}"),
        _ => format!("delete the {thing} {name:?}"),
    };
    format!(
        "{thing} {name:?} is on the broker already with {argument} = {found}, expected {argument} = \
         {expected}; that cannot be changed while it exists: {delete}, then run `longshore topology \
         apply`, or restore the setting it was declared with"
    )
}
