//! A mainframe that stands still with hundreds of callers on it, and a database beside it that must not feel that.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use standins::{
    customers,
    postgres::{PgOptions, PrivatePg},
};

use super::order_status;
use crate::{
    Extent,
    judge::Judge,
    load::{Kind, Load, Paced, Target},
    weir::{Start, Weir, binary},
};

const CALLERS: usize = 300;
const DEADLINE: Duration = Duration::from_secs(2);
/// How much later than its deadline a call may be answered, and how soon "at once" is.
const LATE: Duration = Duration::from_millis(100);
/// How often the database is asked.
const READS: f64 = 100.0;

/// The database alone, and with three hundred callers on a mainframe that is stopped.
pub(super) async fn run(extent: Extent, judge: &mut Judge) -> Result<()> {
    println!("{CALLERS} callers on a mainframe that stands still, and a database beside it");
    let pg = PrivatePg::start(PgOptions::default()).await?;
    customers::load(pg.url(), customers::SEED).await?;
    let mainframe = Process::start()?;
    let mut slow = order_status();
    slow["deadline"] = json!(format!("{}s", DEADLINE.as_secs()));
    let customer = json!({
        "description": "One customer.",
        "effect": "read",
        "sql": "SELECT id, name, email FROM customers WHERE id = $1",
        "arguments": { "id": { "type": "string" } },
    });
    let config = json!({ "downstreams": {
        "orders": { "mainframe": { "base_url": mainframe.url }, "tools": { "order_status": slow } },
        "crm": { "postgres": { "url": { "env": "BENCH_PG" } }, "tools": { "get_customer": customer } },
    } });
    let variables = [("BENCH_PG", pg.url())];
    let weir = Weir::start_with(&config, Start { variables: &variables, ..Start::default() }).await?;
    weir.until_tools(2).await?;
    let order = json!({ "order_id": super::ORDER });
    let stuck = [Target::call(&weir.endpoint, "orders__order_status", &order, super::ORDER)?];
    let read = [Target::call(&weir.endpoint, "crm__get_customer", &json!({ "id": "C-00042" }), "C-00042")?];
    ensure!(
        stuck[0].connect().await?.hear().await?.kind == Kind::Right,
        "the mainframe did not answer while it was well"
    );

    let period = extent.period(30, 4);
    let paced = Paced { rate: READS, connections: 16, period };
    Paced { period: period / 5, ..paced }.run(&read).await?;
    let alone = paced.run(&read).await?;
    mainframe.signal("STOP")?;
    let callers = Load { connections: CALLERS, period, obedient: true };
    let (waited, beside) = tokio::try_join!(callers.during(&stuck), paced.run(&read))?;
    mainframe.signal("CONT")?;

    let first = waited.between(Duration::ZERO, LATE);
    judge.bit("nobody had an answer of the mainframe", waited.count(Kind::Right) == 0 && first.len() == CALLERS);
    let by_deadline = |kind| first.count_of_those_that_took(kind, DEADLINE - LATE..DEADLINE + LATE);
    let at_deadline = by_deadline(Kind::Wrong) + by_deadline(Kind::Refused);
    let at_once = first.count_of_those_that_took(Kind::Refused, Duration::ZERO..DEADLINE / 4);
    println!(
        "of the first {}: {at_deadline} answered at their deadline of {} s, {at_once} refused at once",
        first.len(),
        DEADLINE.as_secs()
    );
    judge.in_time(
        format!("{} were answered neither at once nor at their deadline", first.len() - at_deadline - at_once),
        at_deadline + at_once == first.len(),
    );
    let failed = beside.len() - beside.count(Kind::Right);
    judge.holds(format!("every read of the database was answered: {failed} were not"), failed == 0);
    let [alone, beside] = [alone, beside].map(|samples| samples.latency_ms(Kind::Right, 0.99));
    judge.in_time(
        format!(
            "p99 of the database {beside:.2} ms beside it and {alone:.2} ms alone, {:.2} of it, at most 1.5",
            beside / alone
        ),
        beside <= 1.5 * alone,
    );
    Ok(())
}

/// The mainframe, in a process that can be stopped. Killed when it is dropped.
struct Process {
    child: Child,
    url: String,
}

impl Process {
    fn start() -> Result<Self> {
        let mut child = Command::new(binary("standins")?)
            .args(["mainframe", "--delay", "100ms", "--concurrency", "1000"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the mainframe")?;
        let mut url = String::new();
        let stdout = child.stdout.take().context("it was started with a pipe")?;
        BufReader::new(stdout).read_line(&mut url)?;
        ensure!(url.starts_with("http://"), "the mainframe said no URL");
        Ok(Self { child, url: url.trim_end().to_owned() })
    }

    fn signal(&self, name: &str) -> Result<()> {
        let id = self.child.id().to_string();
        // The shell's own: a small system has no program of this name.
        let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &id]).status()?;
        ensure!(sent.success(), "no signal reached the mainframe");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
