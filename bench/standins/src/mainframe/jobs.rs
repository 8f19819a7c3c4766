//! Batch jobs: submitted, run, ended.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

/// Job numbers have five digits.
const JOBS_MAX: usize = 99_999;

/// A job, as it was submitted and as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Job {
    pub id: String,
    pub name: String,
    pub parm: String,
    pub status: JobStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum JobStatus {
    Submitted,
    Running,
    Ended,
}

/// All jobs, with the moments at which they were submitted.
#[derive(Clone, Debug, Default)]
pub(super) struct Jobs(Vec<(Job, Instant)>);

impl Jobs {
    /// `None` where there are no numbers left.
    pub(super) fn submit(&mut self, name: &str, parm: &str) -> Option<&Job> {
        if self.0.len() >= JOBS_MAX {
            return None;
        }
        let id = format!("JOB{:05}", self.0.len() + 1);
        let job = Job { id, name: name.to_owned(), parm: parm.to_owned(), status: JobStatus::Submitted };
        self.0.push((job, Instant::now()));
        self.0.last().map(|(job, _)| job)
    }

    /// Every job makes its next step.
    pub(super) fn advance(&mut self) {
        for (job, _) in &mut self.0 {
            job.status = match job.status {
                JobStatus::Submitted => JobStatus::Running,
                JobStatus::Running | JobStatus::Ended => JobStatus::Ended,
            };
        }
    }

    /// What time has done to the jobs, when each of the two steps takes so long.
    pub(super) fn catch_up(&mut self, step: Duration, now: Instant) {
        for (job, submitted) in &mut self.0 {
            let by_time = match now.saturating_duration_since(*submitted) {
                waited if waited < step => JobStatus::Submitted,
                waited if waited < step * 2 => JobStatus::Running,
                _ => JobStatus::Ended,
            };
            job.status = job.status.max(by_time);
        }
    }

    pub(super) fn find(&self, id: &str) -> Option<&Job> {
        self.0.iter().map(|(job, _)| job).find(|job| job.id == id)
    }

    pub(super) fn all(&self) -> Vec<Job> {
        self.0.iter().map(|(job, _)| job.clone()).collect()
    }
}

impl Job {
    pub(super) fn report(&self) -> Value {
        let Self { id, name, parm, status } = self;
        let mut report = json!({ "job_id": id, "job": name, "status": status, "return_code": null });
        if *status == JobStatus::Ended {
            // The one program that has a bug.
            let abends = name == "BADJOB";
            report["return_code"] = json!(if abends { "S0C7" } else { "0000" });
            let end = if abends { "ABENDED S0C7 U0000" } else { "ENDED - RC=0000" };
            report["output"] = json!(format!("{id} $HASP373 {name} STARTED\n{id} PARM={parm}\n{id} {name} {end}"));
        }
        report
    }
}

/// Up to eight letters, digits and the three national characters, and no digit first.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"#@$".contains(&byte);
    (1..=8).contains(&name.len()) && name.bytes().all(allowed) && !name.as_bytes()[0].is_ascii_digit()
}
