use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::PrivateNginx;

#[tokio::test]
async fn it_serves_its_site_and_leaves_nothing_behind() -> Result<()> {
    let nginx = PrivateNginx::start(&[], |addr| format!("server {{ listen {addr}; return 200 hello; }}")).await?;
    let mut stream = TcpStream::connect(nginx.addr()).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    ensure!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"), "{answer}");
    let (dir, addr) = (nginx.dir.path().to_owned(), nginx.addr());
    drop(nginx);
    ensure!(!dir.exists() && TcpStream::connect(addr).await.is_err(), "it is left behind");
    Ok(())
}

#[tokio::test]
async fn a_site_that_is_none_says_why() -> Result<()> {
    let broken = PrivateNginx::start(&[], |addr| format!("server {{ listen {addr}; retrun 200; }}")).await;
    let error = broken.expect_err("it cannot start").to_string();
    ensure!(error.contains("retrun"), "{error}");
    Ok(())
}
