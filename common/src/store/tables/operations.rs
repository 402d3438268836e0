//! Replays as rows, and how they may be steered.

use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::text::{json, keepable, number, word};
use crate::store::{
    Act, Moment, Operation, OperationReport, OperationState, Progress, ReplayOutcome, StoreError,
};

/// A row to insert.
pub(in crate::store) struct NewOperationRow {
    pub id: Uuid,
    pub kind: &'static str,
    pub filter: String,
    pub to_queue: Option<String>,
    pub who: String,
    pub why: Option<String>,
    pub rate: Option<i64>,
    pub stop_when: Option<i16>,
    pub slice: Option<String>,
    pub new_ids: bool,
    pub resumes: Option<Uuid>,
}

impl TryFrom<&Operation> for NewOperationRow {
    type Error = StoreError;

    fn try_from(replay: &Operation) -> Result<Self, StoreError> {
        let slice = replay.slice.as_ref().map(serde_json::to_string);
        Ok(Self {
            id: replay.id,
            kind: replay.kind.as_str(),
            filter: serde_json::to_string(&replay.filter).map_err(not_json("filter"))?,
            to_queue: replay.to_queue.as_deref().map(keepable),
            who: keepable(&replay.act.actor.who),
            why: replay.act.why.as_deref().map(keepable),
            rate: replay.rate.map(i64::from),
            stop_when: replay.stop_when.map(i16::from),
            slice: slice.transpose().map_err(not_json("slice"))?,
            new_ids: replay.new_ids,
            resumes: replay.resumes,
        })
    }
}

/// The act that begins an operation, with the order of the operation.
pub(in crate::store) fn begun(operation: &Operation) -> Act {
    let order = json!({
        "kind": operation.kind,
        "filter": operation.filter,
        "to_queue": operation.to_queue,
        "rate": operation.rate,
        "stop_when": operation.stop_when,
        "slice": operation.slice,
        "new_ids": operation.new_ids,
        "resumes": operation.resumes,
    });
    operation.act.clone().changing(None, Some(order))
}

/// The act that moves an operation from one state to another.
pub(in crate::store) fn steered(act: &Act, from: OperationState, to: OperationState) -> Act {
    let facts = |state: OperationState| Some(json!({ "state": state }));
    act.clone().changing(facts(from), facts(to))
}

/// The act that sets the rate of an operation.
pub(in crate::store) fn rate_set(act: &Act, from: Option<i64>, to: u32) -> Act {
    let facts = |rate: Value| Some(json!({ "rate": rate }));
    act.clone().changing(facts(from.into()), facts(to.into()))
}

/// The act that hands an operation over to the workers.
pub(in crate::store) fn handed_over(act: &Act) -> Act {
    let facts = |is_handed_over: bool| Some(json!({ "handed_over": is_handed_over }));
    act.clone().changing(facts(false), facts(true))
}

/// A report as its column holds it.
pub(in crate::store) fn report_column(report: &OperationReport) -> Result<String, StoreError> {
    serde_json::to_string(report).map_err(not_json("report"))
}

fn not_json(what: &'static str) -> impl Fn(serde_json::Error) -> StoreError {
    move |error| StoreError::Data(format!("the {what} cannot be written as JSON: {error}"))
}

/// A whole row.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct OperationRow {
    replay_id: Uuid,
    kind: String,
    filter: String,
    to_queue: Option<String>,
    who: String,
    why: Option<String>,
    state: String,
    rate: Option<i64>,
    stop_when: Option<i16>,
    slice: Option<String>,
    new_ids: bool,
    position: Option<i64>,
    replayed: i64,
    started_at: OffsetDateTime,
    ended_at: Option<OffsetDateTime>,
    handed_over_at: Option<OffsetDateTime>,
    resumes: Option<Uuid>,
    report: Option<String>,
}

impl TryFrom<OperationRow> for Progress {
    type Error = StoreError;

    fn try_from(row: OperationRow) -> Result<Self, StoreError> {
        let rate = row.rate.map(|rate| number("replays.rate", rate));
        let slice = row.slice.map(|slice| json("replays.slice", &slice));
        let report = row.report.map(|report| json("replays.report", &report));
        Ok(Self {
            id: row.replay_id,
            kind: word(&row.kind)?,
            filter: json("replays.filter", &row.filter)?,
            to_queue: row.to_queue,
            who: row.who,
            why: row.why,
            state: word(&row.state)?,
            rate: rate.transpose()?,
            // The column has a check on its range.
            stop_when: row.stop_when.and_then(|share| share.try_into().ok()),
            slice: slice.transpose()?,
            new_ids: row.new_ids,
            replayed: row.replayed.unsigned_abs(),
            position: row.position.map(i64::unsigned_abs),
            started_at: Moment(row.started_at),
            ended_at: row.ended_at.map(Moment),
            handed_over_at: row.handed_over_at.map(Moment),
            resumes: row.resumes,
            report: report.transpose()?.unwrap_or_default(),
        })
    }
}

/// The outcome of a replay's letters, with how many it has sent in all.
#[derive(sqlx_macros::FromRow)]
pub(in crate::store) struct OutcomeRow {
    replayed: i64,
    completed: i64,
    died_again: i64,
    under_way: i64,
}

impl OutcomeRow {
    /// The outcome of all sent letters, or of a sample of them.
    pub(in crate::store) fn outcome(self, is_sample: bool) -> ReplayOutcome {
        let completed = self.completed.unsigned_abs();
        let died_again = self.died_again.unsigned_abs();
        let under_way = self.under_way.unsigned_abs();
        let traced = completed + died_again + under_way;
        let sent = if is_sample {
            traced
        } else {
            self.replayed.unsigned_abs()
        };
        ReplayOutcome {
            sent,
            completed,
            died_again,
            under_way,
            untraced: sent.saturating_sub(traced),
        }
    }
}

/// The decision about a replay in the state `from` that somebody wants in the state `to`.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) enum Steer {
    /// Nothing: it is, or it has ended.
    Leave,
    /// Write the state down.
    Set,
    /// End it.
    Stop,
}

impl Steer {
    /// The decision; an error for a state that nobody can bring about by asking.
    pub(in crate::store) fn decide(
        from: OperationState,
        to: OperationState,
    ) -> Result<Self, StoreError> {
        use OperationState::{Done, Paused, Running, Stopped};
        match (from, to) {
            (_, Done) => Err(StoreError::Fault(
                "expected running, paused or stopped as what a replay shall be, found done"
                    .to_owned(),
            )),
            (Running, Paused) | (Paused, Running) => Ok(Self::Set),
            (Running | Paused, Stopped) => Ok(Self::Stop),
            _ => Ok(Self::Leave),
        }
    }
}

/// How a replay may end.
pub(in crate::store) fn check_end(state: OperationState) -> Result<(), StoreError> {
    match state {
        OperationState::Done | OperationState::Stopped => Ok(()),
        OperationState::Running | OperationState::Paused => Err(StoreError::Fault(format!(
            "expected done or stopped as the end of a replay, found {state}"
        ))),
    }
}

/// No replay has this id.
pub(in crate::store) fn no_such_operation(id: Uuid) -> StoreError {
    StoreError::Fault(format!(
        "expected a replay that was begun, found none with the id {id}"
    ))
}

/// A replay of the history has no dead letters to claim.
pub(in crate::store) fn of_history(id: Uuid) -> StoreError {
    StoreError::Fault(format!(
        "expected a replay of dead letters, found {id}, which is one of the history"
    ))
}
