//! How records get to a place.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use adapters::Delays;
use serde_json::value::RawValue;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    sync::mpsc::Receiver,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    BATCH_MAX,
    syslog::{Messages, frame},
};

const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a collector may take nothing before its connection is given up.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// A place that takes records.
pub(super) trait Place: Send + 'static {
    /// Sends `records` in their order, and gives how many were sent. What comes after the first that was not is not tried.
    fn send(&mut self, records: &[Arc<RawValue>], closing: &CancellationToken) -> impl Future<Output = usize> + Send;

    /// Waits for records, and puts them into `batch`. It stays empty when no more will come.
    fn next(
        &mut self,
        queue: &mut Receiver<Arc<RawValue>>,
        batch: &mut Vec<Arc<RawValue>>,
    ) -> impl Future<Output = ()> + Send {
        async {
            queue.recv_many(batch, BATCH_MAX).await;
        }
    }
}

/// JSON lines on standard output. A reader that takes none stops this task and nothing else.
#[derive(Debug)]
pub(super) struct Stdout;

impl Place for Stdout {
    async fn send(&mut self, records: &[Arc<RawValue>], closing: &CancellationToken) -> usize {
        let mut lines = Vec::new();
        for record in records {
            // A line break can stand between values of JSON, and must not here.
            lines.extend(record.get().bytes().map(|byte| if byte < b' ' { b' ' } else { byte }));
            lines.push(b'\n');
        }
        let mut stdout = tokio::io::stdout();
        let written = async {
            stdout.write_all(&lines).await?;
            stdout.flush().await
        };
        match closing.run_until_cancelled(written).await {
            Some(Ok(())) => records.len(),
            Some(Err(error)) => {
                tracing::warn!(%error, "audit records cannot be written to standard output");
                0
            }
            None => 0,
        }
    }
}

/// Syslog over TCP. While the collector is gone its records wait, as many as the queue holds.
#[derive(Debug)]
pub(super) struct Stream {
    address: SocketAddr,
    messages: Messages,
    connection: Option<TcpStream>,
    delays: Delays,
}

impl Stream {
    pub(super) fn new(address: SocketAddr, host: &str) -> Self {
        let messages = Messages::new(host, std::process::id());
        Self { address, messages, connection: None, delays: Delays::default() }
    }

    /// One attempt. What a collector got of it before it failed comes a second time: it can drop a message of which it has a part alone.
    async fn attempt(&mut self, bytes: &[u8]) -> io::Result<()> {
        // A collector says nothing; what can be read is the end of its connection, and what is written after that is lost.
        let has_ended = |connection: &TcpStream| match connection.try_read(&mut [0; 512]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        };
        let mut connection = match self.connection.take().filter(|connection| !has_ended(connection)) {
            Some(connection) => connection,
            None => {
                let connection = timeout(CONNECT_MAX, TcpStream::connect(self.address)).await??;
                tracing::info!(address = %self.address, "audit records go to the syslog collector");
                connection
            }
        };
        timeout(WRITE_MAX, connection.write_all(bytes)).await??;
        self.connection = Some(connection);
        Ok(())
    }
}

impl Place for Stream {
    async fn send(&mut self, records: &[Arc<RawValue>], closing: &CancellationToken) -> usize {
        let mut bytes = Vec::new();
        for record in records {
            frame(&self.messages.of(record.get()), &mut bytes);
        }
        let sent = async {
            let mut failed_before = false;
            while let Err(error) = self.attempt(&bytes).await {
                if !failed_before {
                    tracing::warn!(
                        address = %self.address, %error,
                        "the syslog collector of audit.forward takes no records: they wait, and it is tried again"
                    );
                    failed_before = true;
                }
                tokio::time::sleep(self.delays.next()).await;
            }
            self.delays.reset();
        };
        if closing.run_until_cancelled(sent).await.is_some() { records.len() } else { 0 }
    }

    async fn next(&mut self, queue: &mut Receiver<Arc<RawValue>>, batch: &mut Vec<Arc<RawValue>>) {
        let mut nothing = [0; 512];
        while let Some(connection) = &mut self.connection {
            tokio::select! {
                _ = queue.recv_many(batch, BATCH_MAX) => return,
                read = connection.read(&mut nothing) => if !matches!(read, Ok(1..)) {
                    self.connection = None;
                }
            }
        }
        queue.recv_many(batch, BATCH_MAX).await;
    }
}

/// Syslog over UDP. A collector that is gone is noticed on this machine alone; elsewhere nobody says that a datagram was lost.
#[derive(Debug)]
pub(super) struct Datagrams {
    address: SocketAddr,
    messages: Messages,
    socket: Option<UdpSocket>,
}

impl Datagrams {
    pub(super) fn new(address: SocketAddr, host: &str) -> Self {
        Self { address, messages: Messages::new(host, std::process::id()), socket: None }
    }

    async fn attempt(&mut self, message: &[u8]) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => {
                let from: SocketAddr =
                    if self.address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
                let socket = UdpSocket::bind(from).await?;
                socket.connect(self.address).await?;
                socket
            }
        };
        timeout(WRITE_MAX, socket.send(message)).await??;
        self.socket = Some(socket);
        Ok(())
    }
}

impl Place for Datagrams {
    async fn send(&mut self, records: &[Arc<RawValue>], _: &CancellationToken) -> usize {
        for (sent, record) in records.iter().enumerate() {
            let message = self.messages.fitting(record.get());
            if let Err(error) = self.attempt(&message).await {
                tracing::debug!(address = %self.address, %error, "an audit record could not be sent as a datagram");
                return sent;
            }
        }
        records.len()
    }
}
