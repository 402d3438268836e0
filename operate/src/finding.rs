//! The findings of the standing watch, in the words of its table and gauge.

/// A queue is not there.
pub const MISSING_QUEUE: &str = "missing_queue";
/// Nobody consumes a queue: its worker is not there.
pub const UNCONSUMED_QUEUE: &str = "unconsumed_queue";
/// Messages that came back twice wait to be handled alone.
pub const SUSPECTS: &str = "suspects";
/// Messages that not even the archive could take.
pub const PARKED: &str = "parked";
/// Events that were accepted and are nowhere.
pub const LOST_EVENT: &str = "lost_event";
/// Deliveries that are due and in no queue.
pub const OVERDUE_DELIVERY: &str = "overdue_delivery";
/// A part of the watch cannot see: it lacks a right, say.
pub const BLIND: &str = "blind";
/// The clock was set.
pub const CLOCK_JUMP: &str = "clock_jump";
/// Something was sent again lately. Nothing is wrong any more.
pub const REPAIRED: &str = "repaired";

/// Those that the gauge tells of.
pub const WRONG: [&str; 8] = [
    MISSING_QUEUE,
    UNCONSUMED_QUEUE,
    SUSPECTS,
    PARKED,
    LOST_EVENT,
    OVERDUE_DELIVERY,
    BLIND,
    CLOCK_JUMP,
];

/// The name of the lease.
pub const WATCH_LEASE: &str = "watch";
