//! What a caller that gave a progress token hears while its call waits.

use std::time::Duration;

use adapters::{CallContext, Notice, json};
use tokio::time::{Instant, sleep_until};

use super::fair::Position;

/// How often a caller hears of its position, at most.
const EVERY: Duration = Duration::from_secs(1);
/// How much `progress` grows with each message. Progress must increase throughout a call, and that of the downstream follows: it begins at 0 or
/// counts parts of 1, so what is told before stays far below.
const STEP: f64 = 1e-6;

/// Tells the caller of one call where it stands.
#[derive(Debug)]
pub(super) struct Told<'a> {
    ctx: &'a CallContext,
    downstream: &'a str,
    next: Instant,
    count: u32,
    ahead: Option<usize>,
}

impl<'a> Told<'a> {
    pub(super) fn new(ctx: &'a CallContext, downstream: &'a str) -> Self {
        Self { ctx, downstream, next: Instant::now(), count: 0, ahead: None }
    }

    /// Ends when it is time to look whether there is something to tell. Never, where nobody wants to hear it.
    pub(super) async fn due(&self) {
        if self.ctx.notices.is_none() {
            std::future::pending::<()>().await;
        }
        sleep_until(self.next).await;
    }

    /// Tells the position if it is another one than was told.
    pub(super) fn tell(&mut self, position: Position) {
        self.next = Instant::now() + EVERY;
        if self.ahead == Some(position.ahead) {
            return;
        }
        self.ahead = Some(position.ahead);
        self.count += 1;
        let progress = f64::from(self.count) * STEP;
        let message = json::string(&message(self.downstream, position));
        let params = format!("{{\"progressToken\":0,\"progress\":{progress:.6},\"message\":{message}}}");
        self.ctx.notify(Notice::Progress(params.into()));
    }
}

fn message(downstream: &str, position: Position) -> String {
    let before = match position.ahead {
        0 => return format!("Waiting for {downstream}: this call is next."),
        1 => "1 call is before this one".to_owned(),
        ahead => format!("{ahead} calls are before this one"),
    };
    match position.wait.as_secs() {
        0 => format!("Waiting for {downstream}: {before}."),
        seconds => format!("Waiting for {downstream}: {before}; its turn comes in about {seconds} s."),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use adapters::{CallContext, Caller, Deadline, Notice};
    use tokio::{sync::mpsc, time::Instant};

    use super::{EVERY, Position, Told};

    #[tokio::test(start_paused = true)]
    async fn a_caller_hears_its_position_at_once_and_then_when_it_changes_but_not_all_the_time() {
        let (sender, mut heard) = mpsc::channel(8);
        let mut ctx = CallContext::new(Arc::new(Caller::local(&[])), Deadline::after(Duration::from_secs(60)));
        ctx.notices = Some(adapters::Notices::new(sender, None));
        let mut told = Told::new(&ctx, "host");
        let began = Instant::now();
        for (ahead, wait_s) in [(12, 24), (12, 23), (1, 0), (0, 0)] {
            told.due().await;
            told.tell(Position { ahead, ahead_own: 0, wait: Duration::from_secs(wait_s) });
        }
        assert_eq!(began.elapsed(), 3 * EVERY);
        drop(ctx);
        let mut texts = Vec::new();
        while let Some(Notice::Progress(params)) = heard.recv().await {
            texts.push(String::from_utf8(params.to_vec()).expect("text"));
        }
        let expected = [
            r#"{"progressToken":0,"progress":0.000001,"message":"Waiting for host: 12 calls are before this one; its turn comes in about 24 s."}"#,
            r#"{"progressToken":0,"progress":0.000002,"message":"Waiting for host: 1 call is before this one."}"#,
            r#"{"progressToken":0,"progress":0.000003,"message":"Waiting for host: this call is next."}"#,
        ];
        assert_eq!(texts, expected);
    }
}
