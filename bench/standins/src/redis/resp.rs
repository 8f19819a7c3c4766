//! Just enough of the protocol of Redis (RESP2) to look at a server.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// What Redis answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Nil,
    Integer(i64),
    Bytes(Vec<u8>),
    List(Vec<Reply>),
}

impl Reply {
    pub fn integer(&self) -> Result<i64> {
        match self {
            Self::Integer(number) => Ok(*number),
            other => bail!("not a number: {other:?}"),
        }
    }

    pub fn bytes(self) -> Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => bail!("not bytes: {other:?}"),
        }
    }

    pub fn text(self) -> Result<String> {
        Ok(String::from_utf8(self.bytes()?)?)
    }

    pub fn list(self) -> Result<Vec<Self>> {
        match self {
            Self::List(list) => Ok(list),
            other => bail!("not a list: {other:?}"),
        }
    }
}

pub(super) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(super) async fn open(addr: SocketAddr, password: Option<&str>) -> Result<Self> {
        let stream = TcpStream::connect(addr).await.with_context(|| format!("nobody listens at {addr}"))?;
        let mut connection = Self(BufReader::new(stream));
        if let Some(password) = password {
            connection.command(&["AUTH", password]).await?;
        }
        Ok(connection)
    }

    pub(super) async fn command<T: AsRef<[u8]>>(&mut self, words: &[T]) -> Result<Reply> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words.iter().map(AsRef::as_ref) {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.0.get_mut().write_all(&request).await?;
        self.reply().await
    }

    async fn reply(&mut self) -> Result<Reply> {
        let line = self.line().await?;
        let (kind, rest) = line.split_at_checked(1).context("an empty line")?;
        match kind {
            "+" => Ok(Reply::Bytes(rest.as_bytes().to_vec())),
            "-" => bail!("Redis says: {rest}"),
            ":" => Ok(Reply::Integer(rest.parse()?)),
            "$" if rest == "-1" => Ok(Reply::Nil),
            "$" => {
                let mut bytes = vec![0; rest.parse::<usize>()? + 2];
                self.0.read_exact(&mut bytes).await?;
                bytes.truncate(bytes.len() - 2);
                Ok(Reply::Bytes(bytes))
            }
            "*" if rest == "-1" => Ok(Reply::Nil),
            "*" => {
                let mut list = Vec::new();
                for _ in 0..rest.parse::<usize>()? {
                    list.push(Box::pin(self.reply()).await?);
                }
                Ok(Reply::List(list))
            }
            _ => bail!("not RESP2: {line}"),
        }
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        ensure!(line.ends_with("\r\n"), "Redis hung up");
        line.truncate(line.len() - 2);
        Ok(line)
    }
}
