//! Wrong credentials, counted by the address that they come from.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::json;
use standins::redis::{PrivateRedis, RedisOptions};
use tests::{ADMIN_TOKEN, Answer, Ask, TestRouter};

use super::{House, config, ensure_bites, header, key, server, shared::commands, wait_ms, write_holders};

/// A house that believes a proxy on loopback about addresses.
async fn behind_a_proxy() -> Result<House> {
    House::changed(json!([]), |config| config["server"] = json!({ "trusted_proxies": ["127.0.0.1"] })).await
}

/// A call from this address with this credential.
async fn from(house: &House, address: &str, authorization: &str) -> Result<Answer> {
    let ask = Ask::call("raw__get", json!({})).header("x-forwarded-for", address);
    house.router.ask(&if authorization.is_empty() { ask } else { ask.header("authorization", authorization) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_twenty_wrong_keys_an_address_is_told_to_wait_and_right_keys_work_from_everywhere() -> Result<()> {
    let house = behind_a_proxy().await?;
    let right = format!("Bearer {}", house.key("ann"));
    let mut statuses = Vec::new();
    for number in 0..200 {
        let answer = from(&house, "203.0.113.7", &format!("Bearer weir_guess{number}_x")).await?;
        ensure!(!answer.text.contains("guess"), "{answer:?}");
        if answer.status == 429 {
            let (wait_ms, retry_after) = (wait_ms(&answer)?, header(&answer, "retry-after")?.parse::<u64>()?);
            ensure!(wait_ms <= 3000 && retry_after == wait_ms.div_ceil(1000).max(1), "{answer:?}");
            ensure!(header(&answer, "ratelimit-policy")? == "\"failed-logins\";q=20;w=60", "{answer:?}");
        }
        statuses.push(answer.status.as_u16());
    }
    ensure!(statuses[..20].iter().all(|status| *status == 401), "{statuses:?}");
    // One comes back every three seconds.
    let (let_in, too_many) = statuses[20..].iter().fold((0, 0), |(one, other), status| match status {
        401 => (one + 1, other),
        429 => (one, other + 1),
        _ => (100, other),
    });
    ensure!(let_in < 20, "{statuses:?}");
    ensure_bites(too_many)?;
    for address in ["203.0.113.7", "203.0.113.8"] {
        ensure!(from(&house, address, &right).await?.status == 200, "{address}");
    }
    ensure!(from(&house, "203.0.113.8", "Bearer weir_x_y").await?.status == 401, "another address has its own count");
    ensure!(from(&house, "203.0.113.7", "").await?.status == 401, "no credential is no wrong one");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_credential_at_all_is_never_counted() -> Result<()> {
    let house = behind_a_proxy().await?;
    for _ in 0..100 {
        ensure!(from(&house, "203.0.113.7", "").await?.status == 401);
    }
    ensure!(from(&house, "203.0.113.7", "Bearer wrong").await?.status == 401);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_of_ipv6_is_one_address_and_an_untrusted_hop_chooses_none() -> Result<()> {
    let house = behind_a_proxy().await?;
    for number in 0..20 {
        let address = format!("2001:db8:1:2::{number:x}");
        ensure!(from(&house, &address, "Bearer wrong").await?.status == 401, "{number}");
    }
    ensure!(from(&house, "2001:db8:1:2:ffff::1", "Bearer wrong").await?.status == 429);
    ensure!(from(&house, "2001:db8:1:3::1", "Bearer wrong").await?.status == 401);
    // What stands before an untrusted hop is its own invention.
    for number in 0..20 {
        let hops = format!("198.51.100.{number}, 203.0.113.9");
        ensure!(from(&house, &hops, "Bearer wrong").await?.status == 401, "{number}");
    }
    ensure!(from(&house, "192.0.2.1, 203.0.113.9", "Bearer wrong").await?.status == 429);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_of_operators_are_counted_with_the_rest() -> Result<()> {
    let house = House::with(json!([{ "name": "knocks", "per": "address", "rate": "5/d" }])).await?;
    let admin = house.router.running().admin;
    let ask = async |token: &str, method: &str, path: &str| -> Result<String> {
        let authorization = if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {admin}\r\n{authorization}connection: close\r\ncontent-length: 0\r\n\r\n"
        );
        let answer = tests::speak(admin, request.as_bytes()).await?;
        Ok(answer.split(' ').nth(1).context("a status")?.to_owned())
    };
    for _ in 0..3 {
        ensure!(ask("", "GET", "/admin/tools").await? == "401");
    }
    ensure!(
        ask("wrong", "GET", "/admin/tools").await? == "401" && ask("wrong", "POST", "/admin/explain").await? == "401"
    );
    ensure!(house.router.ask(&Ask::call("raw__get", json!({})).key("wrong")).await?.status == 401);
    for _ in 0..2 {
        ensure!(ask("wrong", "GET", "/admin/tools").await? == "401");
    }
    ensure!(
        ask("wrong", "GET", "/admin/tools").await? == "429" && ask("wrong", "POST", "/admin/explain").await? == "429"
    );
    ensure!(house.router.ask(&Ask::call("raw__get", json!({})).key("wrong")).await?.status == 429);
    ensure!(ask(ADMIN_TOKEN, "GET", "/admin/tools").await? == "200" && ask("", "GET", "/healthz").await? == "200");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_leave_keys_by_address_alone_in_redis_and_are_counted_without_it() -> Result<()> {
    let mut redis = PrivateRedis::start(RedisOptions::default()).await?;
    let (server, dir) = (server().await?, tempfile::tempdir()?);
    let keys = write_holders(dir.path())?;
    let mut config = config(&server, json!([]));
    config["server"] = json!({ "trusted_proxies": ["127.0.0.1"] });
    super::shared::with_redis(&mut config, dir.path(), &redis.url())?;
    let router = TestRouter::ready_in(dir, &config.to_string()).await?;
    let guess = async |number: u32, address: &str| -> Result<u16> {
        let guess = format!("Bearer weir_{number:08x}_{number:043x}");
        let headers = [("authorization", guess.as_str()), ("x-forwarded-for", address)];
        Ok(router.send(Method::GET, "/v1/tools", &headers, "").await?.status.as_u16())
    };
    // So many at once, since Redis is to see some of them.
    let before = commands(&redis).await?;
    let mut too_many = 0;
    for number in 0..2000 {
        let address = format!("203.0.113.{}", number % 4);
        too_many += usize::from(guess(number, &address).await? == 429);
    }
    ensure!(too_many > 1500, "{too_many}");
    let names = redis.command(&["KEYS", "*"]).await?.list()?;
    let mut of_addresses = 0;
    for name in names {
        let name = name.text()?;
        ensure!(!name.contains("203.0.113") && !name.contains("guess"), "{name}");
        of_addresses += usize::from(name.contains("addr") || name.contains("limit"));
    }
    ensure!((1..=10).contains(&of_addresses), "{of_addresses}: what was guessed left something");
    // A flood that is refused costs Redis next to nothing.
    let asked = commands(&redis).await? - before;
    ensure!(asked < 1000, "{asked} commands for 2000 guesses");

    redis.kill().await?;
    let mut statuses = Vec::new();
    for number in 0..60 {
        statuses.push(guess(number, "198.51.100.1").await?);
    }
    ensure!(statuses[..20].iter().all(|status| *status == 401), "{statuses:?}");
    ensure_bites(statuses.iter().filter(|status| **status == 429).count())?;
    ensure!(router.call(Some(key(&keys, "ann")), "raw__get", json!({})).await?.status == 200);
    Ok(())
}
