//! The conformance suite of broker engines, and the tests of one engine each.
//!
//! RabbitMQ is expected at `LONGSHORE_BROKER_URL`, or else at `amqp://guest:guest@127.0.0.1:5672`.
//! Every test has a namespace of its own and deletes it at the end.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "broker/embedded.rs"]
mod embedded;
#[path = "broker/rabbit.rs"]
mod rabbit;
#[path = "broker/suite.rs"]
mod suite;
#[path = "broker/world.rs"]
mod world;

/// Runs the whole suite against one engine.
macro_rules! conforms {
    ($engine:ident) => {
        conforms! {
            $engine:
            a_message_arrives_as_it_was_published,
            an_unroutable_message_is_reported_and_no_other,
    a_batch_is_answered_one_by_one_and_in_order,
            nobody_needs_to_listen_to_what_is_stored,
            what_cannot_be_written_down_harms_nothing_else,
            a_message_too_full_to_publish_goes_without_its_largest_headers,
            twenty_thousand_publishes_at_once_are_all_confirmed,
            competing_consumers_share_the_work,
            what_is_acked_is_gone_and_what_is_given_back_comes_again,
            acks_in_any_order_all_arrive,
            what_a_lost_consumer_held_comes_again_and_is_counted,
            a_subscription_is_ours_until_it_ends,
            a_cancelled_subscription_ends_after_what_was_under_way,
            a_hold_gives_back_what_is_in_hand_and_goes_on,
            a_missing_queue_is_named,
            a_queue_is_looked_for_at_any_time,
            binding_again_makes_what_is_missing,
            only_what_reaches_its_queue_counts_as_published,
            a_deleted_queue_stays_missing_for_a_second,
            nobody_waits_for_a_queue_that_another_program_declares,
            a_queue_that_is_declared_again_is_another_queue,
            delays_are_kept_under_load,
            delays_end_in_their_order,
            what_is_delayed_is_somewhere,
            the_depth_of_a_queue_is_known,
            applying_twice_changes_nothing,
            a_destination_that_is_narrowed_gets_less,
            verify_names_what_is_missing,
            what_the_broker_gives_up_on_is_dead_lettered,
            a_message_is_given_out_up_to_the_limit,
            what_the_dead_queue_gives_up_on_is_parked,
            what_is_published_outlives_every_program,
            the_history_is_read_to_its_end,
            an_empty_history_ends_at_once,
            the_history_ends_at_what_was_there_under_any_traffic,
            a_look_into_a_queue_takes_nothing,
            a_closed_broker_takes_nothing,
        }
    };
    ($engine:ident: $($test:ident),+ $(,)?) => {
        mod $engine {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    let engine = super::super::$engine::engine();
                    super::super::world::run(engine, super::super::suite::$test).await;
                }
            )+
        }
    };
}

mod conforms {
    conforms!(rabbit);
    conforms!(embedded);
}
