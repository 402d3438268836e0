use common::event::now;
use common::store::{DeliveryStatus, Moment, RejectionRecord, Timeline};
use serde_json::Value;

use super::*;

fn line(expect: Expect, code: Option<&str>) -> Line {
    Line {
        post: "/v1/signups".to_owned(),
        body: Value::Null,
        key: None,
        expect,
        code: code.map(str::to_owned),
    }
}

fn status(
    id: EventId,
    standing: Standing,
    reason: Option<ReasonCode>,
    generation: u32,
) -> EventStatus {
    let at = now();
    let step = |step, after_ms: i64| Timeline {
        step,
        at: Moment(at + time::Duration::milliseconds(after_ms)),
        destination: None,
    };
    let delivered = standing == Standing::Completed;
    let mut timeline = vec![step("received", 0), step("stored", 10)];
    if delivered {
        timeline.push(step("delivered", 50));
    }
    EventStatus {
        id,
        publisher: None,
        kind: None,
        status: standing,
        not_before: None,
        is_held: false,
        timeline,
        deliveries: vec![DeliveryStatus {
            destination: "crm".to_owned(),
            generation,
            status: if delivered {
                DeliveryState::Delivered
            } else {
                DeliveryState::Dead
            },
            attempts: 2,
            reason: None,
            due_at: Moment(at),
            error: None,
            last_attempt_at: None,
        }],
        filtered: Vec::new(),
        reason: reason.map(|code| RejectionRecord {
            code,
            detail: String::new(),
            errors: Vec::new(),
            dead_letter: None,
        }),
        conflicts: Vec::new(),
    }
}

/// One of each: completed, sent twice, in conflict with it, rejected, dead and replayed, refused.
struct World {
    lines: Vec<Line>,
    doors: Vec<Door>,
    before: HashMap<EventId, EventStatus>,
    after: HashMap<EventId, EventStatus>,
    conflicts: HashMap<EventId, u64>,
    taken: u64,
    left_dead: Option<ReasonCode>,
}

impl World {
    fn new() -> Self {
        let [first, rejected, dead] = [(); 3].map(|()| EventId::born());
        let taken_code = Some(ReasonCode::EmailTaken);
        let mut refusal = status(rejected, Standing::Rejected, taken_code, 0);
        refusal.deliveries.clear();
        let same = [
            (first, status(first, Standing::Completed, None, 0)),
            (rejected, refusal),
        ];
        let mut before = HashMap::from(same.clone());
        before.insert(
            dead,
            status(dead, Standing::Dead, Some(ReasonCode::ReceiverGone), 0),
        );
        let mut after = HashMap::from(same);
        after.insert(dead, status(dead, Standing::Completed, None, 1));
        Self {
            lines: vec![
                line(Expect::Completed, None),
                line(Expect::Completed, None),
                line(Expect::Rejected, Some("idempotency_conflict")),
                line(Expect::Rejected, Some("email_taken")),
                line(Expect::Dead, Some("receiver_gone")),
                line(Expect::Refused, Some("invalid")),
            ],
            doors: vec![
                Door::Accepted(first),
                Door::Accepted(first),
                Door::Accepted(first),
                Door::Accepted(rejected),
                Door::Accepted(dead),
                Door::Refused("invalid".to_owned()),
            ],
            before,
            after,
            conflicts: HashMap::from([(first, 1)]),
            taken: 2,
            left_dead: None,
        }
    }

    fn ledger(&self) -> Ledger {
        let seen = Seen {
            posts: 6,
            taken: self.taken,
            failed: 4,
            ..Seen::default()
        };
        Ledger::draw(Facts {
            lines: &self.lines,
            doors: &self.doors,
            before: &self.before,
            after: &self.after,
            conflicts: &self.conflicts,
            receivers: BTreeMap::from([("crm", seen)]),
            replayed: 1,
            left_dead: self.left_dead,
        })
    }
}

#[test]
fn one_of_each_balances() {
    let ledger = World::new().ledger();
    assert_eq!(ledger.problems, Vec::<String>::new());
    assert!(ledger.balances);
    assert_eq!((ledger.sent, ledger.accepted, ledger.completed), (6, 5, 2));
    assert_eq!((ledger.repeats, ledger.dead, ledger.died), (1, 0, 1));
    assert_eq!(ledger.rejected.values().sum::<u64>(), 2);
    assert_eq!((ledger.deliveries, ledger.attempts), (2, 6));
    assert_eq!(ledger.to_stored.map(|times| times.p50_ms), Some(10.0));
}

#[test]
fn a_missing_event_does_not_balance() {
    let mut world = World::new();
    let Door::Accepted(id) = world.doors[3] else {
        panic!("line 4 is accepted")
    };
    world.after.remove(&id);
    let ledger = world.ledger();
    assert!(!ledger.balances);
    assert!(
        ledger
            .problems
            .iter()
            .any(|problem| problem.contains(&id.to_string()))
    );
}

#[test]
fn an_event_that_comes_to_no_rest_does_not_balance() {
    let mut world = World::new();
    for status in world
        .after
        .values_mut()
        .filter(|status| status.status == Standing::Completed)
    {
        status.status = Standing::Delivering;
    }
    assert!(!world.ledger().balances);
}

#[test]
fn a_delivery_that_no_receiver_saw_does_not_balance() {
    let mut world = World::new();
    world.taken = 1;
    assert!(!world.ledger().balances);
}

#[test]
fn a_request_that_failed_does_not_balance() {
    let mut world = World::new();
    world.doors[5] = Door::Failed("503".to_owned());
    assert!(!world.ledger().balances);
}

#[test]
fn what_came_otherwise_than_expected_is_named_by_its_line() {
    let mut world = World::new();
    world.lines[0].expect = Expect::Dead;
    let ledger = world.ledger();
    assert!(
        ledger
            .problems
            .iter()
            .any(|problem| problem.starts_with("line 1: expected dead"))
    );
}

#[test]
fn only_what_was_left_dead_on_purpose_may_stay_dead() {
    let mut world = World::new();
    let Door::Accepted(id) = world.doors[4] else {
        panic!("line 5 is accepted")
    };
    world.after.insert(id, world.before[&id].clone());
    world.taken = 1;
    assert!(!world.ledger().balances);
    world.left_dead = Some(ReasonCode::ReceiverRefused);
    assert!(!world.ledger().balances);
    world.left_dead = Some(ReasonCode::ReceiverGone);
    let ledger = world.ledger();
    assert_eq!(ledger.problems, Vec::<String>::new());
    assert_eq!(ledger.dead, 1);
}
