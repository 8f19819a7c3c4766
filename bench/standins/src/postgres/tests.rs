use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

use super::{PgOptions, PrivatePg};

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("Postgres answers");
    tokio::spawn(connection);
    client
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.expect("a row").get(0)
}

#[tokio::test]
async fn a_cluster_answers_survives_a_kill_and_leaves_no_folder() {
    let mut pg = PrivatePg::start(PgOptions::default()).await.expect("Postgres starts");
    let dir = pg.dir.path().to_owned();
    let url = pg.create_database("kept").await.expect("a database");
    let client = connect(&url).await;
    client.batch_execute("CREATE TABLE t (n int8); INSERT INTO t VALUES (9007199254740993)").await.expect("a table");

    pg.kill_hard().await.expect("killed");
    assert!(tokio_postgres::connect(&url, NoTls).await.is_err(), "nobody answers after a kill");
    pg.restart().await.expect("it starts again");
    assert_eq!(number(&connect(&url).await, "SELECT n FROM t").await, 9_007_199_254_740_993);

    pg.restart().await.expect("it restarts from a clean stop, sessions or not");
    let copy = pg.copy_database("kept", "copied").await.expect("a copy");
    assert_eq!(number(&connect(&copy).await, "SELECT count(*) FROM t").await, 1);

    pg.stop().await.expect("it stops");
    assert!(!dir.exists(), "{} is left behind", dir.display());
}

#[tokio::test]
async fn over_tcp_a_password_is_needed_and_a_statement_can_time_out() {
    let pg = PrivatePg::start(PgOptions { tcp: true, ..PgOptions::default() }).await.expect("Postgres starts");
    let addr = pg.tcp_addr().expect("it listens");
    assert!(!format!("{pg:?}").contains(&pg.password), "a password in Debug");

    let client = connect(pg.url()).await;
    client.batch_execute("SET statement_timeout = '50ms'").await.expect("a setting");
    let error = client.batch_execute("SELECT pg_sleep(20)").await.expect_err("it is cut off");
    assert_eq!(error.code().expect("a code of the server").code(), "57014");

    let error = tokio_postgres::connect(&format!("postgres://weir:wrong@{addr}/postgres"), NoTls)
        .await
        .err()
        .expect("a wrong password");
    assert_eq!(error.code().expect("a code of the server").code(), "28P01");
}

/// Runs itself as a second process, which kills itself while its cluster runs.
#[tokio::test]
async fn a_killed_parent_leaves_no_server_and_no_folder() {
    #[allow(clippy::disallowed_methods, reason = "how the test tells its second process apart")]
    let dying = std::env::var_os("STANDINS_TEST_DIES").is_some();
    if dying {
        let pg = PrivatePg::start(PgOptions::default()).await.expect("Postgres starts");
        println!("\nfolder={}", pg.dir.path().display());
        let me = std::process::id().to_string();
        Command::new("sh").args(["-c", &format!("kill -KILL {me}")]).status().expect("sh runs");
        unreachable!("killed");
    }
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "--nocapture", "postgres::tests::a_killed_parent_leaves_no_server_and_no_folder"])
        .env("STANDINS_TEST_DIES", "1")
        .stderr(Stdio::inherit())
        .output()
        .expect("it runs");
    let stdout = String::from_utf8(output.stdout).expect("text");
    let dir = stdout.lines().find_map(|line| line.strip_prefix("folder=")).expect("the cluster came up");
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::path::Path::new(dir).exists() {
        assert!(Instant::now() < deadline, "{dir} is left behind");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let url = format!("postgres://weir@{}/postgres", dir.replace('/', "%2F"));
    assert!(tokio_postgres::connect(&url, NoTls).await.is_err(), "the server still runs");
}
