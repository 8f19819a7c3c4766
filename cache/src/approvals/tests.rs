use anyhow::{Result, ensure};
use standins::redis::{PrivateRedis, RedisOptions};

use super::{Approvals, Approved, NotApproved, Reach};
use crate::{
    redis::{Kind, Redis},
    testing::redis_at,
};

const ONE: Approved<'_> = Approved { owner: "pay", name: "get", digest: &[1; 32] };
const OTHER: Approved<'_> = Approved { digest: &[2; 32], ..ONE };

async fn connected(server: &PrivateRedis) -> Result<Redis> {
    redis_at(Kind::Single, server.url()).await
}

#[tokio::test]
async fn one_definition_of_one_tool_is_approved_and_nothing_else() {
    let approvals = Approvals::new(&[7; 32], None);
    assert!(!approvals.has(&ONE));
    assert_eq!(approvals.approve(&ONE).await, Ok(Reach::Here));
    assert!(approvals.has(&ONE));
    for other in [
        OTHER,
        Approved { name: "gett", ..ONE },
        Approved { owner: "payget", name: "", ..ONE },
        Approved { owner: "pa", name: "yget", ..ONE },
    ] {
        assert!(!approvals.has(&other), "{other:?}");
    }
}

#[tokio::test]
async fn the_first_definition_that_is_seen_counts() {
    let approvals = Approvals::new(&[7; 32], None);
    assert!(approvals.is_first(&ONE) && approvals.is_first(&ONE));
    assert!(!approvals.is_first(&OTHER));
    assert!(approvals.is_first(&Approved { name: "set", ..OTHER }));
    assert!(!approvals.has(&ONE), "seen is not approved");
}

#[tokio::test]
async fn replicas_learn_what_was_approved_and_seen_first_and_no_forger_is_believed() -> Result<()> {
    let server = PrivateRedis::start(RedisOptions::default()).await?;
    let (a, b) = (
        Approvals::new(&[7; 32], Some(connected(&server).await?)),
        Approvals::new(&[7; 32], Some(connected(&server).await?)),
    );
    ensure!(a.approve(&ONE).await == Ok(Reach::Everywhere) && !b.has(&ONE));
    ensure!(b.learn().await? && b.has(&ONE) && !b.has(&OTHER));
    ensure!(!b.learn().await?, "nothing new");

    // Both see one first; the one that tells Redis first is right.
    let (seen, late) = (Approved { name: "new", ..ONE }, Approved { name: "new", ..OTHER });
    ensure!(a.is_first(&seen) && b.is_first(&late));
    a.learn().await?;
    b.learn().await?;
    ensure!(b.is_first(&seen) && !b.is_first(&late) && a.is_first(&seen));

    // Who has the server and not the secret.
    let forger = Approvals::new(&[8; 32], Some(connected(&server).await?));
    forger.approve(&OTHER).await?;
    ensure!(a.learn().await? && !a.has(&OTHER) && a.has(&ONE));
    server.command(&["HSET", "test:{approvals}", "junk", "junk", "version", "junk"]).await?;
    ensure!(a.learn().await? && a.has(&ONE));

    server.command(&["FLUSHALL"]).await?;
    ensure!(a.learn().await? && !a.has(&ONE), "what Redis lost is held again");
    Ok(())
}

#[tokio::test]
async fn without_its_redis_nothing_is_approved_and_what_is_known_stays() -> Result<()> {
    let mut server = PrivateRedis::start(RedisOptions::default()).await?;
    let approvals = Approvals::new(&[7; 32], Some(connected(&server).await?));
    approvals.approve(&ONE).await?;
    server.kill().await?;
    ensure!(approvals.approve(&OTHER).await == Err(NotApproved::Gone) && !approvals.has(&OTHER));
    ensure!(approvals.learn().await.is_err() && approvals.has(&ONE));
    Ok(())
}
