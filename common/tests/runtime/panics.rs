//! A panic in a task of a worker's is reported, and so ends the program (`common::bootstrap`). Otherwise the
//! worker would be alive, ready and useless.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use common::tasks;

use super::world::{Fails, Fault, PATIENCE, World};

/// Runs a worker with two events until a task of its has panicked; returns the report.
async fn told(fault: Fault) -> String {
    let mut world = World::with(2).await;
    world.is_odd(fault);
    let (_, running) = world.start(Fails(Arc::new(AtomicUsize::new(0))));
    let told = tokio::time::timeout(PATIENCE, tasks::failed()).await;
    let told = told.unwrap_or_else(|_| panic!("{fault:?}: nothing is told of the panic"));
    running.abort();
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_call_of_a_handler() {
    let told = told(Fault::PanicsAtPublish).await;
    assert_eq!(told, "the task \"handle\" panicked: on purpose");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_lane() {
    let told = told(Fault::PanicsAtSubscribe { suspects: false }).await;
    assert_eq!(told, "the task \"lane\" panicked: on purpose");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_lane_of_suspects() {
    let told = told(Fault::PanicsAtSubscribe { suspects: true }).await;
    assert_eq!(told, "the task \"lane of suspects\" panicked: on purpose");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_keeper_of_holds() {
    let told = told(Fault::PanicsAtProbe).await;
    assert_eq!(told, "the task \"keeper of holds\" panicked: on purpose");
}
