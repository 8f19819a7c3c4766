//! What a database says of its changes.

use adapters::{Adapter, AdapterEvent};
use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, stream::BoxStream};
use standins::{
    postgres::{PgOptions, PrivatePg},
    proxy::FaultProxy,
};

use super::{Database, PATIENCE};

const SETTINGS: &str = "{ notify_channel: changes }";

/// What a user writes so that a table tells its changes.
const TRIGGER: &str = "
    CREATE TABLE customer (id text PRIMARY KEY, name text);
    CREATE FUNCTION tell_customer() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP <> 'INSERT' THEN PERFORM pg_notify('changes', 'customer:' || OLD.id); END IF;
      IF TG_OP <> 'DELETE' THEN PERFORM pg_notify('changes', 'customer:' || NEW.id); END IF;
      RETURN NULL;
    END $$;
    CREATE TRIGGER tell_changes AFTER INSERT OR UPDATE OR DELETE ON customer FOR EACH ROW EXECUTE FUNCTION tell_customer();";

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_tells_what_has_changed() -> Result<()> {
    let database = Database::new(TRIGGER, SETTINGS, "").await?;
    let mut heard = Heard::from(&*database.connected.adapter);
    ensure!(heard.next().await? == AdapterEvent::ChangedUnknown, "before it listened anything may have changed");
    let change = async |sql: &str| database.observer.batch_execute(sql).await;
    change("INSERT INTO customer VALUES ('A', 'Ann'), ('B', 'Bob')").await?;
    ensure!(heard.tags().await? == ["customer:A"] && heard.tags().await? == ["customer:B"]);
    change("UPDATE customer SET id = 'C' WHERE id = 'B'").await?;
    ensure!(heard.tags().await? == ["customer:B"] && heard.tags().await? == ["customer:C"]);
    change("BEGIN; DELETE FROM customer; ROLLBACK").await?;
    change("NOTIFY changes, 'no tag'; NOTIFY other, 'customer:X'; NOTIFY changes; NOTIFY changes, 'weir:all'").await?;
    change("SELECT pg_notify('changes', E'customer:D\\nno tag\\nticket:OPS-1\\n')").await?;
    ensure!(heard.tags().await? == ["customer:D", "ticket:OPS-1"], "what is no tag is passed over");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_each_gap_in_listening_anything_may_have_changed() -> Result<()> {
    let mut server = PrivatePg::start(PgOptions { tcp: true, ..PgOptions::default() }).await?;
    let proxy = FaultProxy::start(server.tcp_addr().context("no port")?).await?;
    let url = server.url_at("postgres", proxy.addr());
    let through = Database::beside(&url, server.url(), SETTINGS, "").await?;
    let mut heard = Heard::from(&*through.connected.adapter);
    ensure!(heard.next().await? == AdapterEvent::ChangedUnknown);
    proxy.reset_connections();
    ensure!(heard.next().await? == AdapterEvent::ChangedUnknown, "the connection is made again");
    through.observer.batch_execute("NOTIFY changes, 'customer:A'").await?;
    ensure!(heard.tags().await? == ["customer:A"]);

    server.kill_hard().await?;
    server.restart().await?;
    ensure!(heard.next().await? == AdapterEvent::ChangedUnknown, "the server is found again");
    super::observe(server.url()).await?.batch_execute("NOTIFY changes, 'customer:B'").await?;
    ensure!(heard.tags().await? == ["customer:B"]);
    // One who comes later knows as little of what was before.
    ensure!(Heard::from(&*through.connected.adapter).next().await? == AdapterEvent::ChangedUnknown);
    Ok(())
}

/// What an adapter tells but for its state.
struct Heard(BoxStream<'static, AdapterEvent>);

impl Heard {
    fn from(adapter: &dyn Adapter) -> Self {
        let is_change = |event: &AdapterEvent| !matches!(event, AdapterEvent::State(_));
        Self(adapter.events().filter(move |event| std::future::ready(is_change(event))).boxed())
    }

    async fn next(&mut self) -> Result<AdapterEvent> {
        let next = tokio::time::timeout(PATIENCE, self.0.next()).await.context("nothing is heard")?;
        next.context("the events ended")
    }

    async fn tags(&mut self) -> Result<Vec<String>> {
        match self.next().await? {
            AdapterEvent::Changed(tags) => Ok(tags),
            other => anyhow::bail!("{other:?}"),
        }
    }
}
