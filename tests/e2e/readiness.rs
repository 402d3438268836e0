//! No program is ready before its dependencies are.

use anyhow::{Result, ensure};
use testkit::{
    client::Client, load::signup, process::Program, proxy::Proxy, services::Services,
    system::System, wait::eventually,
};

use crate::{LATER, SOON};

/// An exchange whose queue is not bound yet takes nothing, so a broker that answers is not enough.
#[tokio::test]
async fn no_program_is_ready_before_the_topology_is_declared() -> Result<()> {
    let shared = Services::shared();
    let proxy = Proxy::start_before(&shared.broker_url).await?;
    // The declarations go over a connection of their own, by that name. The others are let through.
    proxy.withhold("(errands)");
    let told = Services {
        broker_url: proxy.before(&shared.broker_url)?,
        ..shared
    };
    let programs = [Program::Producer].into_iter().chain(Program::WORKERS);
    let mut builder = System::builder().told(told);
    for program in programs.clone() {
        builder = builder.copies(program, 0);
    }
    let mut system = builder.start().await?;
    let mut doors = Vec::new();
    for program in programs {
        system.begin(program)?;
        doors.push((program, Client::new(system.address(program, 0)?)?));
    }
    for (program, door) in &doors {
        let what = format!("{program} to reach the broker and wait for what it needs there");
        eventually(SOON, what, || async {
            let answer = door.get("/readyz").await?;
            ensure!(answer.status == 503, "{}: {}", answer.status, answer.text());
            let checks = answer.json()?["checks"].clone();
            ensure!(
                checks["broker"] == "its exchanges and queues are not declared yet",
                "{checks}"
            );
            ensure!(door.get("/livez").await?.status == 200, "but it is alive");
            Ok(())
        })
        .await?;
    }
    let early = system
        .client()
        .post_once("/v1/signups", "early", &signup("early"))
        .await?;
    early.problem(503)?;

    proxy.heal();
    for (program, door) in &doors {
        eventually(LATER, format!("{program} to be ready"), || async {
            let answer = door.get("/readyz").await?;
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
            Ok(())
        })
        .await?;
    }
    let verified = system.longshore(&["topology", "verify"]).await?;
    verified.success()?;
    let id = system.client().signup(&signup("ready")).await?;
    system.ledger().await?.all_completed(&[id], SOON).await?;
    system.finish().await
}
