//! What ends cached answers from outside of a call: a database, a webhook, an operator, a list that changed. Two routers share a Redis.

mod admin;
mod lost;
mod webhook;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use standins::{
    Era,
    postgres::{PgOptions, PrivatePg},
    raw::{Action, Incoming, RawServer},
    redis::{PrivateRedis, RedisOptions},
};
use tests::{Ask, TestRouter, open_house};
use tokio_postgres::{Client, NoTls};

const WEBHOOK_SECRET: &str = "the secret of the webhook in these tests";

const TRIGGER: &str = "
    CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_notify('weir', 'customer:' || NEW.id); RETURN NULL; END $$;
    CREATE TRIGGER tell AFTER UPDATE ON customer FOR EACH ROW EXECUTE FUNCTION tell();";

/// Two routers with one config in front of a database, and a Redis between them.
struct Scene {
    routers: [TestRouter; 2],
    database: Client,
    /// How often the customer was renamed.
    renamed: usize,
    _servers: (PrivatePg, PrivateRedis),
}

impl Scene {
    /// A table of customers; `setup` is more SQL.
    async fn start(setup: &str) -> Result<Self> {
        let (database, redis) =
            tokio::try_join!(PrivatePg::start(PgOptions::default()), PrivateRedis::start(RedisOptions::default()))?;
        let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await?;
        tokio::spawn(connection);
        let table = "CREATE TABLE customer (id text PRIMARY KEY, name text); INSERT INTO customer VALUES ('A', '0')";
        client.batch_execute(&format!("{table};{setup}")).await?;
        let routers = tokio::try_join!(router(&database, &redis), router(&database, &redis))?.into();
        Ok(Self { routers, database: client, renamed: 0, _servers: (database, redis) })
    }

    /// Waits until both routers answer from the cache, whatever they say.
    async fn cached(&self) -> Result<()> {
        for router in &self.routers {
            for tool in ["crm__get", "crm__list"] {
                tests::until("it is cached", async || Ok(read(router, tool).await?.1.then_some(()))).await?;
            }
        }
        Ok(())
    }

    /// Renames the customer in the database, past both routers.
    async fn rename(&mut self) -> Result<()> {
        self.renamed += 1;
        self.database.execute("UPDATE customer SET name = $1", &[&self.renamed.to_string()]).await?;
        Ok(())
    }

    /// Renames the customer and makes sure that nobody noticed.
    async fn rename_unnoticed(&mut self) -> Result<()> {
        self.cached().await?;
        let before = self.renamed.to_string();
        self.rename().await?;
        for router in &self.routers {
            for tool in ["crm__get", "crm__list"] {
                ensure!(read(router, tool).await? == (before.clone(), true), "{tool} noticed by itself");
            }
        }
        Ok(())
    }

    /// Waits until both routers give the present name by these tools.
    async fn noticed(&self, tools: &[&str]) -> Result<()> {
        let now = self.renamed.to_string();
        for router in &self.routers {
            for tool in tools {
                tests::until("the present name is given", async || {
                    Ok((read(router, tool).await?.0 == now).then_some(()))
                })
                .await?;
            }
        }
        Ok(())
    }
}

async fn router(database: &PrivatePg, redis: &PrivateRedis) -> Result<TestRouter> {
    router_with(database, &redis.url(), &[], json!({})).await
}

/// One whose customers may be strict, and which has more tools than those that read.
async fn router_with(database: &PrivatePg, redis: &str, strict: &[&str], more: Value) -> Result<TestRouter> {
    let dir = tempfile::tempdir()?;
    for (file, text) in [
        ("url", database.url()),
        ("redis", redis),
        ("master", "3f1c0a9d5b7e42868d1f90c4e6a2b753"),
        ("webhook", WEBHOOK_SECRET),
    ] {
        tests::private_file(dir.path().join(file), text)?;
    }
    let cache = |tag: &str| json!({ "fresh_for": "10m", "tags": [tag] });
    let mut config = json!({
        "secrets": { "master": { "file": "master" } },
        "redis": { "url": { "file": "redis" }, "command_timeout": "1s", "value_timeout": "2s" },
        "cache": { "webhook": { "secret": { "file": "webhook" } }, "strict": strict },
        "identity": { "local": { "roles": ["all"] } },
        "policy": { "roles": { "all": { "allow": ["*"] }, "listers": { "allow": ["crm__list*"] }, "nobody": {} } },
        "downstreams": { "crm": {
            "postgres": { "url": { "file": "url" }, "notify_channel": "weir" },
            "tools": {
                "get": {
                    "effect": "read",
                    "sql": "SELECT name FROM customer WHERE id = $1",
                    "arguments": { "id": { "type": "string" } },
                    "cache": cache("customer:{id}"),
                },
                "list": {
                    "effect": "read",
                    "sql": "SELECT id, name FROM customer WHERE id >= $1",
                    "arguments": { "id": { "type": "string" } },
                    "cache": cache("customer:{result.rows[].id}"),
                },
            },
        } },
    });
    let tools = config["downstreams"]["crm"]["tools"].as_object_mut().context("it has tools")?;
    tools.extend(more.as_object().cloned().unwrap_or_default());
    TestRouter::ready_in(dir, &config.to_string()).await
}

/// The customer's name by one of the tools, and whether it came out of the cache.
async fn read(router: &TestRouter, tool: &str) -> Result<(String, bool)> {
    let result = router.ask(&Ask::call(tool, json!({ "id": "A" }))).await?.result()?;
    let name = result["structuredContent"]["rows"][0]["name"].as_str().with_context(|| format!("no name: {result}"))?;
    Ok((name.to_owned(), result["_meta"]["weir/cache"].is_object()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_a_trigger_tells_ends_the_answers_about_it_in_every_replica() -> Result<()> {
    let mut scene = Scene::start(TRIGGER).await?;
    for _ in 0..3 {
        scene.cached().await?;
        scene.rename().await?;
        scene.noticed(&["crm__get", "crm__list"]).await?;
    }
    // Others are left alone.
    scene.cached().await?;
    scene.database.batch_execute("NOTIFY weir, 'customer:B'; NOTIFY weir, 'ticket:A'").await?;
    scene.database.batch_execute("INSERT INTO customer VALUES ('B', 'b')").await?;
    for router in &scene.routers {
        ensure!(read(router, "crm__get").await?.1, "it was not about this customer");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_very_much_at_once_is_noticed_too() -> Result<()> {
    // More than wait in a queue, and more than the tags that a list may have.
    let mut scene = Scene::start(&format!(
        "{TRIGGER}; INSERT INTO customer SELECT 'A' || number, '0' FROM generate_series(1, 20000) AS number"
    ))
    .await?;
    for _ in 0..2 {
        tests::until("it is cached", async || Ok(read(&scene.routers[1], "crm__get").await?.1.then_some(()))).await?;
        scene.rename().await?;
        scene.noticed(&["crm__get"]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_nobody_listened_is_noticed_when_somebody_does_again() -> Result<()> {
    let mut scene = Scene::start("").await?;
    scene.rename_unnoticed().await?;
    let connections = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'weir'";
    scene.database.batch_execute(connections).await?;
    scene.noticed(&["crm__get", "crm__list"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_changed_ends_the_answers_of_its_downstream() -> Result<()> {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let server = RawServer::start(Era::LegacyOnly, move |message: &Incoming| match message.method.as_deref()? {
        "tools/list" => {
            let list = r#"{"tools":[{"name":"get","inputSchema":{"type":"object"}}]}"#;
            Some(vec![Action::result(message, list)])
        }
        "tools/call" => {
            let count = count.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
            let result = json!({ "content": [], "structuredContent": { "count": count } });
            Some(vec![Action::result(message, &result.to_string())])
        }
        _ => None,
    })
    .await?;
    let mut config = open_house(&[("raw", &server.url)]);
    config["downstreams"]["raw"]["tools"] = json!({ "get": { "cache": { "fresh_for": "10m" } } });
    let router = TestRouter::ready(&config.to_string()).await?;
    let counted = async || -> Result<Value> {
        let answer = router.ask(&Ask::call("raw__get", json!({}))).await?.result()?;
        Ok(answer["structuredContent"]["count"].clone())
    };
    ensure!(counted().await? == 0 && counted().await? == 0, "it is cached");
    server.push(&[Action::Send(json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }).to_string())]);
    tests::until("it is fetched again", async || Ok((counted().await? == 1).then_some(()))).await?;
    ensure!(counted().await? == 1, "and cached again");
    Ok(())
}
