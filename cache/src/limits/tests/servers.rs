//! Behind sentinels, and in a cluster.

use standins::redis::{MASTER_NAME, RedisCluster, SentinelSet};

use super::*;

const BURST: u64 = 20;

/// So many tenants that every server of a cluster has some.
fn tenants() -> Vec<Side<'static>> {
    (0..24).map(|tenant| Side::Caller { tenant: subject(&format!("tenant {tenant}")) }).collect()
}

/// As many as get through, over all limiters.
async fn exhaust(limiters: &[Limiter], side: Side<'_>, charge: &Charge) -> u64 {
    let mut count = 0;
    for limiter in limiters {
        while limiter.admit(side, std::slice::from_ref(charge)).await.is_ok() {
            count += 1;
        }
    }
    count
}

#[tokio::test]
async fn a_failover_lets_through_no_more_than_one_burst_again() -> Result<()> {
    let mut set = SentinelSet::start(RedisOptions { password: true, ..RedisOptions::default() }).await?;
    let password = set.password().map(SecretString::from);
    let kind = Kind::Sentinel { master_name: MASTER_NAME.to_owned(), user: None, password };
    let mut limiters = Vec::new();
    for _ in 0..2 {
        limiters.push(connected(settings(kind.clone(), set.url())).await?);
    }
    acquainted(&limiters).await?;
    let limit = charge("hour", BURST, 3_600, BURST, WhenGone::LocalShare);
    assert_eq!(exhaust(&limiters, side(), &limit).await, BURST);
    let before = set.kill_master().await?;
    let mut more = exhaust(&limiters, side(), &limit).await;
    set.until_another_than(before).await?;
    for limiter in &limiters {
        until(redis_of(limiter), LinkState::Up).await?;
    }
    more += exhaust(&limiters, side(), &limit).await;
    ensure!(more <= BURST, "{more} more than there are");
    let standings = limiters[0].standings(side(), &[limit]).await;
    assert!(!standings[0].alone, "counted by the server that took over");
    Ok(())
}

#[tokio::test]
async fn in_a_cluster_each_step_has_one_slot_and_a_slot_that_moves_is_followed() -> Result<()> {
    let cluster = RedisCluster::start(3, RedisOptions::default()).await?;
    let mut limiters = Vec::new();
    for _ in 0..2 {
        limiters.push(connected(settings(Kind::Cluster, cluster.url())).await?);
    }
    let (limit, wide) =
        (charge("hour", BURST, 3_600, BURST, WhenGone::Closed), charge("wide", 100, 1, 1_000, WhenGone::Closed));
    let mut used = 0;
    // Counts have names of their own on every side.
    let both_of = |side: Side<'_>| {
        let Side::Caller { tenant } = side else { unreachable!("these are tenants") };
        let of = |charge: &Charge| {
            let subject = Subjects::new(&[7; 32]).of(&charge.limit.name, &[tenant.hex().as_bytes()]);
            Charge { subject, ..charge.clone() }
        };
        [of(&limit), of(&wide)]
    };
    for tenant in tenants() {
        for limiter in limiters.iter().cycle().take(BURST as usize / 2) {
            assert!(limiter.admit(tenant, &both_of(tenant)).await.is_ok());
        }
    }
    for node in &cluster.nodes {
        used += usize::from(node.command(&["DBSIZE"]).await?.integer()? > 0);
    }
    assert_eq!(used, 3, "every server counts some of them");
    for tenant in tenants() {
        let Side::Caller { tenant: subject } = tenant else { continue };
        let key = redis_of(&limiters[0]).key(&format!("limit-caller-{}", subject.hex()), "");
        let slot = u16::try_from(cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", &key]).await?.integer()?)?;
        let from = cluster.holder_of(slot).await?;
        cluster.move_slot(slot, (from + 1) % 3).await?;
        let [limit, _] = both_of(tenant);
        assert_eq!(
            exhaust(&limiters, tenant, &limit).await,
            BURST / 2,
            "nothing is refused, and nothing counted twice"
        );
    }
    let pool = Pool { name: "mainframe".into(), max: 1 };
    let downstream = Side::Downstream { name: "mainframe" };
    let both = [limit, wide];
    let lent = limiters[0].admit_with_permit(downstream, &both, &pool).await.ok().context("a permit")?;
    assert!(matches!(limiters[1].admit_with_permit(downstream, &both, &pool).await, Err(NoEntry::NoPermit)));
    drop(lent);
    // Heard through another server than it was said at.
    limiters[1].permit_may_be_free(&pool).await;
    Ok(())
}
