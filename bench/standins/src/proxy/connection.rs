//! One connection through the proxy: two pumps, and what befalls what they carry.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::network::{Course, Plan};
use super::{Fault, Moment};
use crate::random::Random;

const CHUNK_BYTES: usize = 64 << 10;
/// How much is under way in each direction of a connection.
const CHUNKS_MAX: usize = 64;
const GARBAGE_BYTES: usize = 512;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Answer,
}

/// What is under way.
struct Piece {
    arrives: Instant,
    is_first: bool,
    /// Nothing is the end.
    bytes: io::Result<Vec<u8>>,
}

/// What came of a piece.
#[derive(PartialEq, Eq)]
enum Passed {
    Yes,
    /// This direction is at its end, and nothing more passes in it.
    End,
}

/// Until both directions have ended; an error where the connection has to be reset.
pub(super) async fn run(
    caller: &mut TcpStream,
    server: &mut Option<TcpStream>,
    target: SocketAddr,
    course: &Course,
) -> Result<()> {
    let mut plan = course.network.subscribe();
    passable(course, &mut plan).await?;
    let server = server.insert(TcpStream::connect(target).await.context("the target does not answer")?);
    caller.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_caller, to_caller) = caller.split();
    let (from_server, to_server) = server.split();
    tokio::try_join!(
        pump(Direction::Request, from_caller, to_server, course),
        pump(Direction::Answer, from_server, to_caller, course),
    )?;
    Ok(())
}

/// One direction, until its end has been passed on.
async fn pump(direction: Direction, mut from: ReadHalf<'_>, to: WriteHalf<'_>, course: &Course) -> Result<()> {
    // With the moment of its arrival. So latency delays, and does not throttle.
    let (sender, mut under_way) = mpsc::channel::<Piece>(CHUNKS_MAX);
    let read = async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let bytes = from.read(&mut buffer).await.map(|length| buffer[..length].to_vec());
            let is_last = !matches!(&bytes, Ok(bytes) if !bytes.is_empty());
            let is_first = !is_last
                && match direction {
                    Direction::Request => course.asked(),
                    Direction::Answer => course.answered(),
                };
            let delay = match course.fault() {
                fault @ Fault::Latency(delay) if course.network.bites(fault) => delay,
                _ => Duration::ZERO,
            };
            let piece = Piece { arrives: Instant::now() + delay, is_first, bytes };
            if sender.send(piece).await.is_err() || is_last {
                return anyhow::Ok(());
            }
        }
    };
    let mut arriving = Arriving { direction, to, course, plan: course.network.subscribe() };
    let arrive = async move {
        let mut has_ended = false;
        while let Some(piece) = under_way.recv().await {
            tokio::time::sleep_until(piece.arrives).await;
            passable(course, &mut arriving.plan).await?;
            // What still comes after an end is read, and lost.
            has_ended = has_ended || arriving.take(piece).await? == Passed::End;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(read, arrive)?;
    Ok(())
}

struct Arriving<'a> {
    direction: Direction,
    to: WriteHalf<'a>,
    course: &'a Course,
    plan: watch::Receiver<Plan>,
}

impl Arriving<'_> {
    async fn take(&mut self, piece: Piece) -> Result<Passed> {
        let mut bytes = piece.bytes?;
        if bytes.is_empty() {
            self.to.shutdown().await?;
            return Ok(Passed::End);
        }
        let fault = self.course.fault();
        if piece.is_first && self.is_struck_by(fault) && self.course.network.bites(fault) {
            let half = bytes.len() / 2;
            match fault {
                Fault::Reset(Moment::WithinRequest | Moment::WithinAnswer) => {
                    self.write(&bytes[..half]).await?;
                    bail!("cut within an exchange");
                }
                Fault::HalfClose => {
                    self.to.shutdown().await?;
                    return Ok(Passed::End);
                }
                Fault::Garbage => {
                    self.to.write_all(&garbage(GARBAGE_BYTES)).await?;
                    self.to.shutdown().await?;
                    return Ok(Passed::End);
                }
                Fault::GarbageWithin => {
                    let spoilt = garbage(bytes.len() - half);
                    bytes[half..].copy_from_slice(&spoilt);
                }
                _ => bail!("cut at the begin of a request or an answer"),
            }
        }
        self.write_at_pace(&bytes).await?;
        Ok(Passed::Yes)
    }

    fn is_struck_by(&self, fault: Fault) -> bool {
        let direction = match fault {
            Fault::Reset(Moment::BeforeRequest | Moment::WithinRequest) => Direction::Request,
            _ => Direction::Answer,
        };
        fault.strikes() && direction == self.direction
    }

    async fn write_at_pace(&mut self, mut bytes: &[u8]) -> Result<()> {
        let mut is_counted = false;
        while !bytes.is_empty() {
            let fault = self.course.fault();
            let Some((length, pause)) = fault.pace(self.direction == Direction::Answer) else {
                return self.write(bytes).await;
            };
            if !is_counted {
                is_counted = self.course.network.bites(fault);
            }
            let (now, later) = bytes.split_at(length.min(bytes.len()));
            self.write(now).await?;
            bytes = later;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = self.plan.changed() => changed?,
            }
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.to.write_all(bytes).await?;
        self.course.network.stats.update(|stats| match self.direction {
            Direction::Request => stats.bytes_to_target += bytes.len() as u64,
            Direction::Answer => stats.bytes_from_target += bytes.len() as u64,
        });
        Ok(())
    }
}

async fn passable(course: &Course, plan: &mut watch::Receiver<Plan>) -> Result<()> {
    let mut is_counted = false;
    loop {
        plan.mark_unchanged();
        if course.fault() != Fault::Blackhole {
            return Ok(());
        }
        if !is_counted {
            is_counted = course.network.bites(Fault::Blackhole);
        }
        plan.changed().await?;
    }
}

/// The same on every run, and in no protocol: no byte of it is ASCII, and they are no UTF-8.
fn garbage(bytes: usize) -> Vec<u8> {
    let mut random = Random::new(bytes as u64, "garbage");
    std::iter::once(0xff).chain(std::iter::repeat_with(|| random.next() as u8 | 0x80)).take(bytes).collect()
}
