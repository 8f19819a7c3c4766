//! What each route does.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use serde_json::{Value, json};

use super::Inner;
use super::jobs::{Jobs, is_name};
use super::screens::{self, Face};
use crate::faults::Troubles;
use crate::web::{Answer, Recorded, Site};

const ENTRIES_DEFAULT: usize = 50;
const ENTRIES_MAX: usize = 500;
const SHOWN_REQUESTS: usize = 100;

impl Site for Inner {
    fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    const SHOWN_AT: &'static str = "/__seen";

    fn shown(&self) -> Value {
        self.refresh_jobs();
        let seen = self.observed.get();
        let requests: Vec<String> = seen
            .requests
            .iter()
            .rev()
            .take(SHOWN_REQUESTS)
            .map(|request| format!("{} {}", request.method, request.target))
            .collect();
        json!({
            "running": seen.running, "running_max": seen.running_max, "finished": seen.finished,
            "dropped": seen.dropped, "over_limit": seen.over_limit, "jobs": seen.jobs,
            "requests_total": seen.requests.len(), "requests_newest_first": requests,
        })
    }

    fn arrived(&self, request: &Recorded, kept: bool) {
        self.observed.update(|seen| {
            if kept {
                seen.requests.push(request.clone());
            }
            seen.running += 1;
            seen.running_max = seen.running_max.max(seen.running);
        });
    }

    async fn answer(&self, request: &Recorded) -> Answer {
        if !self.admits(request.header("authorization")) {
            return Answer::text(StatusCode::UNAUTHORIZED, "ICH408I LOGON REQUIRED\n").with(
                "www-authenticate",
                if self.options.bearer.is_some() { "Bearer" } else { "Basic realm=\"CICS\"" },
            );
        }
        let face = if request.path().starts_with("/cics/acct/") { Face::Terminal } else { Face::Html };
        let Ok(_task) = self.tasks.try_acquire() else {
            self.observed.update(|seen| seen.over_limit += 1);
            return screens::busy(face);
        };
        let answer = if self.abends() { screens::abend(face) } else { self.perform(request, face) };
        tokio::time::sleep(self.next_delay()).await;
        answer
    }

    fn left(&self, answered: bool) {
        self.observed.update(|seen| {
            seen.running -= 1;
            if answered {
                seen.finished += 1;
            } else {
                seen.dropped += 1;
            }
        });
    }
}

impl Inner {
    fn perform(&self, request: &Recorded, face: Face) -> Answer {
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["cics", "acct", number]) => {
                let record = number.parse().ok().and_then(|number| self.accounts.account(number));
                record.map_or_else(|| screens::no_account(face), |record| record_answer(record.to_vec()))
            }
            ("GET", ["cics", "hist", number]) => self.history(request, number, face),
            ("GET", ["orders", id, "status"]) => self.order_status(id),
            ("POST", ["batch", "jobs"]) => self.submit(request),
            ("GET", ["batch", "jobs", id]) => self.job(id),
            (_, ["cics", "acct" | "hist", _] | ["orders", _, "status"] | ["batch", "jobs"] | ["batch", "jobs", _]) => {
                Answer::text(StatusCode::METHOD_NOT_ALLOWED, "DFHWB0121 METHOD NOT ALLOWED\n")
            }
            _ => Answer::text(StatusCode::NOT_FOUND, "DFHWB0120 NO SUCH RESOURCE\n"),
        }
    }

    fn history(&self, request: &Recorded, number: &str, face: Face) -> Answer {
        let number_of = |name: &str| request.query(name).map(|text| text.parse::<u32>());
        let (Ok(from), Ok(max)) = (number_of("from").unwrap_or(Ok(0)), number_of("max").transpose()) else {
            return Answer::text(StatusCode::BAD_REQUEST, "DFHWB0130 FROM IS YYYYMMDD AND MAX A NUMBER\n");
        };
        let max = max.map_or(ENTRIES_DEFAULT, |max| (max as usize).min(ENTRIES_MAX));
        let entries = number.parse().ok().and_then(|number| self.accounts.history(number, i64::from(from), max));
        entries.map_or_else(|| screens::no_account(face), record_answer)
    }

    fn order_status(&self, id: &str) -> Answer {
        let answer = match id.parse().ok().and_then(|id| self.accounts.order(id)) {
            Some(order) => json!({ "rc": "00", "order": order }),
            None => json!({ "rc": "04", "message": "ORDER NOT FOUND" }),
        };
        Answer::json(StatusCode::OK, &answer)
    }

    fn submit(&self, request: &Recorded) -> Answer {
        let name = request.form("job").unwrap_or_default();
        if !is_name(&name) {
            let told = "IEFC452I JOB NOT RUN - JCL ERROR: JOB IS UP TO EIGHT LETTERS AND DIGITS\n";
            return Answer::text(StatusCode::BAD_REQUEST, told);
        }
        let parm = request.form("parm").unwrap_or_default();
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let submitted = jobs.submit(&name, &parm).cloned();
        if let Some(job) = &submitted {
            // Under the lock, so that both lists have the same order.
            self.observed.update(|seen| seen.jobs.push(job.clone()));
        }
        drop(jobs);
        match submitted {
            Some(job) => Answer::json(StatusCode::OK, &json!({ "job_id": job.id, "status": job.status })),
            None => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "HASP050 JES2 RESOURCE SHORTAGE OF JQES\n"),
        }
    }

    fn job(&self, id: &str) -> Answer {
        self.refresh_jobs();
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        match jobs.find(id) {
            Some(job) => Answer::json(StatusCode::OK, &job.report()),
            None => Answer::text(StatusCode::NOT_FOUND, format!("HASP003 {} NOT FOUND\n", id.escape_default())),
        }
    }

    /// Changes the jobs, and shows what became of them.
    pub(super) fn change_jobs<R>(&self, change: impl FnOnce(&mut Jobs) -> R) -> R {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let returned = change(&mut jobs);
        self.observed.update(|seen| seen.jobs = jobs.all());
        returned
    }

    pub(super) fn refresh_jobs(&self) {
        if let Some(step) = self.options.job_step {
            self.change_jobs(|jobs| jobs.catch_up(step, Instant::now()));
        }
    }

    fn admits(&self, authorization: Option<&str>) -> bool {
        let bearer = self.options.bearer.as_ref().map(|token| format!("Bearer {token}"));
        let basic = self.options.basic.as_ref().map(|(user, password)| {
            let both = BASE64_STANDARD.encode(format!("{user}:{password}"));
            format!("Basic {both}")
        });
        let mut accepted = bearer.iter().chain(&basic).peekable();
        accepted.peek().is_none() || accepted.any(|accepted| authorization == Some(accepted))
    }

    fn abends(&self) -> bool {
        let decrement = |left: u32| left.checked_sub(1);
        self.abends.fetch_update(Ordering::Relaxed, Ordering::Relaxed, decrement).is_ok()
    }

    fn next_delay(&self) -> Duration {
        let (least, most) = self.options.delay.clone().into_inner();
        let fraction = self.delays.lock().unwrap_or_else(PoisonError::into_inner).fraction();
        least + most.saturating_sub(least).mul_f64(fraction)
    }
}

fn record_answer(records: Vec<u8>) -> Answer {
    Answer::new(StatusCode::OK, "application/octet-stream", records)
}
