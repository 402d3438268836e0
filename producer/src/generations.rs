//! The generations of the door: one after the other, each with its own configuration, behind one address.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use common::bootstrap::{Failure, Program};
use common::health::Health;
use common::outcome::chain;
use common::seal::Seal;
use common::server::Replaceable;
use common::store::Store;
use common::tasks;
use tokio_util::task::TaskTracker;

use crate::door::{Door, Lock, Rows};
use crate::routes::router;

/// The generations of the door, of which the last one takes requests. Requests of those before end under them.
pub struct DoorGenerations {
    door: Mutex<Door>,
    face: Replaceable,
    followers: TaskTracker,
    /// The address that it listens on: whether keys are asked for may depend on it.
    address: SocketAddr,
}

impl DoorGenerations {
    /// The first generation.
    ///
    /// # Errors
    /// The configuration cannot be used, or nothing could open the door.
    pub async fn begin(
        program: &Program,
        address: SocketAddr,
        store: &Arc<dyn Store>,
        health: Health,
    ) -> Result<Self, Failure> {
        let seal = Seal::of(&program.config)?;
        let config = Arc::clone(&program.config);
        let lock = Lock {
            mode: config.auth.door_at(address),
            keys: Arc::clone(store) as _,
        };
        let rows = Rows {
            statuses: Arc::clone(store) as _,
            schedule: Arc::clone(store) as _,
        };
        let door = Door::new(config, lock, health, rows, seal)
            .map_err(|error| Failure::Usage(chain(&error)))?;
        expect_keys(&door).await?;
        let doors = Self {
            face: Replaceable::new(router(door.clone())),
            door: Mutex::new(door.clone()),
            followers: TaskTracker::new(),
            address,
        };
        doors.follow(door, program);
        Ok(doors)
    }

    /// The routes of the present generation, and of those to come.
    pub fn router(&self) -> Router {
        self.face.router()
    }

    /// The door of the next generation.
    ///
    /// # Errors
    /// Its configuration cannot be used, or nothing could open the door.
    pub async fn prepare(&self, next: &Program, health: Health) -> Result<Door, Failure> {
        let seal = Seal::of(&next.config)?;
        let mode = next.config.auth.door_at(self.address);
        let door = self
            .present()
            .with(Arc::clone(&next.config), mode, health, seal)
            .map_err(|error| Failure::Usage(chain(&error)))?;
        expect_keys(&door).await?;
        Ok(door)
    }

    /// This door takes requests from now on.
    pub fn take_over(&self, door: Door, program: &Program) {
        self.face.replace(router(door.clone()));
        *self.door.lock().unwrap_or_else(PoisonError::into_inner) = door.clone();
        self.follow(door, program);
    }

    /// Keeps the queue that the door publishes to until the program ends. Then waits until the last use of keys is written down.
    pub async fn keep(&self, program: &Program) {
        self.present().keep_queue(&program.end).await;
        self.followers.close();
        self.followers.wait().await;
    }

    fn present(&self) -> Door {
        let door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        door.clone()
    }

    /// Follows the changes of keys until the generation ends.
    fn follow(&self, door: Door, program: &Program) {
        let stop = program.stop.clone();
        let following = {
            let stop = stop.clone();
            async move { door.follow_keys(&stop).await }
        };
        self.followers
            .spawn(tasks::supervised_until("keeper of keys", stop, following));
    }
}

async fn expect_keys(door: &Door) -> Result<(), Failure> {
    let has_keys = door.expect_keys().await;
    has_keys.map_err(|error| Failure::Usage(error.to_string()))
}
