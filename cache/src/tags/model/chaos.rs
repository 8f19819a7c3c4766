//! What happens to Redis, and to the ways there.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::world::{Random, World};

pub(super) async fn rage(world: Arc<World>, mut random: Random, end: Instant) {
    while Instant::now() < end {
        random.pause(1_500).await;
        let replica = random.below(super::REPLICAS);
        match random.below(8) {
            // The link is known to be down.
            0 | 1 => {
                world.cut(replica, true);
                random.pause(1_500).await;
                world.mend(replica);
            }
            // Commands have no answer, and nobody knows yet that they will not.
            2 => {
                world.cut(replica, false);
                random.pause(400).await;
                world.mend(replica);
            }
            // Nothing that is published is heard, and nobody says so.
            3 | 4 => {
                world.mute(replica);
                random.pause(2_500).await;
                world.mend(replica);
            }
            5 => world.empty(),
            // Another server takes over, with what it has.
            6 => world.set_back(Duration::from_millis(random.up_to(3_000))),
            _ => {
                for replica in 0..super::REPLICAS {
                    world.cut(replica, true);
                }
                random.pause(2_000).await;
                if random.one_in(2) {
                    world.restart_empty();
                }
                for replica in 0..super::REPLICAS {
                    world.mend(replica);
                    sleep(Duration::from_millis(random.up_to(100))).await;
                }
            }
        }
    }
    for replica in 0..super::REPLICAS {
        world.mend(replica);
    }
}
