//! Runs the raw twin by hand and prints its figures as JSON.

use anyhow::Result;
use bench::twin::{Load, Services, Tuning, backlog, fed};
use clap::Parser;

/// Measures the raw twin over a namespace of its own, which it removes again
#[derive(Parser)]
struct Arguments {
    /// Where RabbitMQ is
    #[arg(
        long,
        env = "LONGSHORE_BROKER_URL",
        hide_env_values = true,
        default_value = "amqp://guest:guest@127.0.0.1:5672"
    )]
    broker_url: String,
    /// Where Postgres is
    #[arg(
        long,
        env = "LONGSHORE_DATABASE_URL",
        hide_env_values = true,
        default_value = "postgres://postgres@127.0.0.1:5432/postgres"
    )]
    database_url: String,
    /// How many events
    #[arg(long, default_value_t = 20_000)]
    events: u64,
    /// Bytes of each event
    #[arg(long, default_value_t = 1000)]
    bytes: usize,
    /// POST each stored event to a receiver
    #[arg(long)]
    deliver: bool,
    /// Publish while the twin works, instead of a backlog before
    #[arg(long)]
    fed: bool,
    /// With --fed: events a second (default: as fast as it goes)
    #[arg(long, requires = "fed")]
    rate: Option<u32>,
    /// Unsettled deliveries of each hop
    #[arg(long)]
    prefetch: Option<u16>,
    /// Events a transaction, at most
    #[arg(long)]
    batch: Option<usize>,
    /// Transactions in flight in a hop
    #[arg(long)]
    transactions: Option<usize>,
    /// POSTs in flight
    #[arg(long)]
    posts: Option<usize>,
    /// Two broker connections for each hop, instead of two for all
    #[arg(long)]
    connections_per_hop: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let services = Services {
        broker_url: arguments.broker_url.clone(),
        database_url: arguments.database_url.clone(),
    };
    let load = Load {
        count: arguments.events,
        bytes: arguments.bytes,
        deliver: arguments.deliver,
    };
    let tuning = tuning(&arguments);
    let run = if arguments.fed {
        fed(&services, &load, arguments.rate, &tuning).await?
    } else {
        backlog(&services, &load, &tuning).await?
    };
    println!("{}", serde_json::to_string(&run)?);
    Ok(())
}

fn tuning(arguments: &Arguments) -> Tuning {
    let default = Tuning::default();
    Tuning {
        validate_prefetch: arguments.prefetch.unwrap_or(default.validate_prefetch),
        store_prefetch: arguments.prefetch.unwrap_or(default.store_prefetch),
        integrate_prefetch: arguments.prefetch.unwrap_or(default.integrate_prefetch),
        batch: arguments.batch.unwrap_or(default.batch),
        transactions: arguments.transactions.unwrap_or(default.transactions),
        posts: arguments.posts.unwrap_or(default.posts),
        connections_per_hop: arguments.connections_per_hop,
    }
}
