//! Against a real Redis, by several limiters as several processes have them.

mod gone;
mod model;
mod permits;
mod servers;

use anyhow::{Context as _, Result, ensure};
use secrecy::SecretString;
use standins::redis::{PrivateRedis, RedisOptions};
use tokio::{task::JoinSet, time::sleep};

use super::*;
use crate::redis::{Kind, LinkState, Settings};

const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at something that nobody tells of.
const BETWEEN: Duration = Duration::from_millis(20);

fn settings(kind: Kind, url: String) -> Settings {
    Settings {
        kind,
        url: SecretString::from(url),
        prefix: "test".to_owned(),
        connect_timeout: Duration::from_secs(1),
        command_timeout: Duration::from_millis(500),
        value_timeout: Duration::from_secs(1),
    }
}

async fn connected(settings: Settings) -> Result<Limiter> {
    let redis = Redis::new(settings)?;
    until(&redis, LinkState::Up).await?;
    Ok(Limiter::shared(redis))
}

async fn until(redis: &Redis, state: LinkState) -> Result<()> {
    let mut changes = redis.link_changes();
    let seen = tokio::time::timeout(PATIENCE, changes.wait_for(|link| link.state == state)).await;
    seen.with_context(|| format!("waited for {state:?} and saw {:?}", redis.link()))??;
    Ok(())
}

async fn server() -> Result<PrivateRedis> {
    PrivateRedis::start(RedisOptions::default()).await
}

async fn limiters<const N: usize>(server: &PrivateRedis) -> Result<[Limiter; N]> {
    let mut limiters = Vec::new();
    for _ in 0..N {
        limiters.push(connected(settings(Kind::Single, server.url())).await?);
    }
    limiters.try_into().ok().context("as many as were made")
}

/// Waits until each has seen all of them.
async fn acquainted(limiters: &[Limiter]) -> Result<()> {
    let by = Instant::now() + PATIENCE;
    while limiters.iter().any(|limiter| limiter.replicas().seen as usize != limiters.len()) {
        ensure!(Instant::now() < by, "they never saw each other");
        sleep(BETWEEN).await;
    }
    Ok(())
}

fn redis_of(limiter: &Limiter) -> &Redis {
    limiter.0.shared.as_ref().expect("these share one").redis()
}

fn charge(name: &str, amount: u64, per_s: u64, burst: u64, when_gone: WhenGone) -> Charge {
    let rate = Rate { amount, per: Duration::from_secs(per_s) };
    let limit = Arc::new(Limit { name: name.into(), rate, burst, when_gone });
    Charge { subject: subject(name), limit, cost: 1 }
}

fn subject(name: &str) -> Subject {
    Subjects::new(&[7; 32]).of(name, &[b"somebody"])
}

fn side() -> Side<'static> {
    Side::Caller { tenant: subject("tenant") }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_together_let_through_what_the_limit_says_and_no_less() -> Result<()> {
    const RATE: u64 = 100;
    const BURST: u64 = 50;
    const FOR: Duration = Duration::from_secs(4);
    let server = server().await?;
    let charges = [charge("exact", RATE, 1, BURST, WhenGone::Closed)];
    let limiters = limiters::<3>(&server).await?;
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for task in 0..48 {
        let (limiter, charges) = (limiters[task % 3].clone(), charges.clone());
        tasks.spawn(async move {
            let mut admitted = Vec::new();
            while began.elapsed() < FOR {
                let asked = Instant::now();
                match limiter.admit(side(), &charges).await {
                    Ok(_) => admitted.push((asked, Instant::now())),
                    // As a busy caller does, and not all in step.
                    Err(_denied) => sleep(Duration::from_millis(1 + task as u64 % 4)).await,
                }
            }
            admitted
        });
    }
    let admitted: Vec<_> = tasks.join_all().await.concat();
    let took = admitted.iter().map(|(_, answered)| *answered).max().context("none was admitted")? - began;
    let most = BURST as f64 + RATE as f64 * took.as_secs_f64();
    ensure!(admitted.len() as f64 <= most + 1.0, "{} of {most}", admitted.len());
    let least = (BURST as f64 + RATE as f64 * FOR.as_secs_f64()) * 0.995 - 1.0;
    ensure!(admitted.len() as f64 >= least, "{} of {least}", admitted.len());
    for (from, _) in &admitted {
        let to = *from + Duration::from_secs(1);
        let within = admitted.iter().filter(|(asked, answered)| asked >= from && *answered <= to).count();
        ensure!(within as u64 <= BURST + RATE + 1, "{within} in one second");
    }
    Ok(())
}

#[tokio::test]
async fn whoever_is_refused_costs_the_others_nothing_and_scripts_may_be_forgotten() -> Result<()> {
    let server = server().await?;
    let [one, other] = limiters(&server).await?;
    let (narrow, wide) =
        (charge("narrow", 1, 3_600, 1, WhenGone::Closed), charge("wide", 1, 3_600, 100, WhenGone::Closed));
    let both = [wide.clone(), narrow];
    assert_eq!(one.admit(side(), &both).await.ok().context("the first")?[0].remaining, 99);
    for limiter in [&one, &other].repeat(5) {
        server.command(&["SCRIPT", "FLUSH"]).await?;
        let Err(Denied::Over { limit, wait, .. }) = limiter.admit(side(), &both).await else {
            anyhow::bail!("the second got through")
        };
        assert_eq!(&*limit.name, "narrow");
        ensure!(wait > Duration::from_secs(3_590) && wait <= Duration::from_secs(3_600), "{wait:?}");
    }
    let standings = other.standings(side(), &both).await;
    assert_eq!(standings.iter().map(|standing| standing.remaining).collect::<Vec<_>>(), [99, 0]);
    assert_eq!(other.admit(side(), &[wide]).await.ok().context("the wide one alone")?[0].remaining, 98);
    let dear = [Charge { cost: 101, ..both[0].clone() }];
    assert!(matches!(one.admit(side(), &dear).await, Err(Denied::Never { .. })));
    let keys = server.command(&["KEYS", "*"]).await?;
    ensure!(!format!("{keys:?}").contains("somebody"), "{keys:?}");
    Ok(())
}

#[tokio::test]
async fn whoever_waits_as_long_as_was_said_and_is_alone_gets_through() -> Result<()> {
    let server = server().await?;
    let [one, other] = limiters(&server).await?;
    let charges = [charge("wait", 20, 1, 1, WhenGone::Closed)];
    let mut told = 0;
    for limiter in [&one, &other].repeat(15) {
        if let Err(denied) = limiter.admit(side(), &charges).await {
            let Denied::Over { wait, .. } = denied else { anyhow::bail!("{denied:?}") };
            told += 1;
            sleep(wait).await;
            let then = limiter.admit(side(), &charges).await;
            ensure!(then.is_ok(), "waited {wait:?} and got {then:?}");
        }
    }
    ensure!(told >= 20, "it never had to wait");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_refused_calls_costs_redis_next_to_nothing() -> Result<()> {
    let server = server().await?;
    let [limiter] = limiters(&server).await?;
    let charges = [charge("flood", 5, 1, 5, WhenGone::Closed)];
    let evals =
        async || Ok::<_, anyhow::Error>(scripts_run(&server.command(&["INFO", "commandstats"]).await?.text()?)?);
    let before = evals().await?;
    let (mut refused, began) = (0_u64, Instant::now());
    while began.elapsed() < Duration::from_secs(2) {
        // All at once: whoever comes while one asks must not ask too.
        let answers = futures_util::future::join_all((0..100).map(|_| limiter.admit(side(), &charges))).await;
        refused += answers.iter().filter(|answer| answer.is_err()).count() as u64;
        sleep(Duration::from_millis(1)).await;
    }
    let asked = evals().await? - before;
    ensure!(refused > 5_000, "only {refused} were refused");
    ensure!(asked <= 100, "{asked} commands for {refused} refused calls");
    Ok(())
}

fn scripts_run(stats: &str) -> Result<u64> {
    let stat = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    Ok(stat.and_then(|rest| rest.split(',').next()).context("no count of scripts")?.parse()?)
}

#[tokio::test]
async fn one_process_alone_counts_and_lends_in_the_same_way() -> Result<()> {
    let limiter = Limiter::in_memory();
    let (charges, pool) = ([charge("alone", 1, 3_600, 3, WhenGone::Closed)], Pool { name: "mainframe".into(), max: 1 });
    let downstream = Side::Downstream { name: "mainframe" };
    let (standings, permit) = limiter.admit_with_permit(downstream, &charges, &pool).await.ok().context("free")?;
    assert_eq!((standings[0].remaining, standings[0].alone), (2, false));
    let second = limiter.admit_with_permit(downstream, &charges, &pool).await;
    assert!(matches!(second, Err(NoEntry::NoPermit)));
    assert_eq!(limiter.standings(downstream, &charges).await[0].remaining, 2, "nothing was charged without a permit");
    drop(permit);
    limiter.permit_may_be_free(&pool).await;
    let (standings, _permit) = limiter.admit_with_permit(downstream, &charges, &pool).await.ok().context("free")?;
    assert_eq!(standings[0].remaining, 1);
    assert_eq!(limiter.replicas(), Replicas { seen: 1, rank: 0 });
    assert!(limiter.admit(downstream, &charges).await.is_ok());
    let Err(NoEntry::Denied(Denied::Over { .. })) = limiter.admit_with_permit(downstream, &charges, &pool).await else {
        anyhow::bail!("who is over a limit must hear that rather than wait for a permit")
    };
    Ok(())
}
