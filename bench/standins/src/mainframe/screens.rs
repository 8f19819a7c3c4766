//! The screens that come with status 200 where an answer should be.

use http::StatusCode;

use super::ebcdic::encode;
use crate::web::Answer;

const COLUMNS: usize = 80;
const LINES: usize = 24;

/// What a program that reads the answer gets: a page for browsers, or the screen of a terminal.
#[derive(Clone, Copy, Debug)]
pub(super) enum Face {
    Html,
    Terminal,
}

pub(super) fn busy(face: Face) -> Answer {
    screen(face, "DFHSM0131", "SYSTEM BUSY - MAXTASK REACHED")
}

pub(super) fn abend(face: Face) -> Answer {
    screen(face, "DFHAC2001", "TRANSACTION ABEND ASRA IN PROGRAM ACCTINQ")
}

pub(super) fn no_account(face: Face) -> Answer {
    screen(face, "DFHAC2206", "ACCT 0012 ACCOUNT NOT FOUND")
}

/// The message stands in the line above the last one, as on a terminal.
fn screen(face: Face, code: &str, message: &str) -> Answer {
    let text = format!("{code} 09:12:44 CICSPROD {message}");
    match face {
        Face::Html => {
            let page = format!("<html><head><title>CICS</title></head><body><pre>{text}</pre></body></html>\n");
            Answer::new(StatusCode::OK, "text/html", page)
        }
        Face::Terminal => {
            let rows = (1..=LINES).map(|line| if line == LINES - 1 { text.as_str() } else { "" });
            let padded: String = rows.map(|row| format!("{row:COLUMNS$}")).collect();
            Answer::new(StatusCode::OK, "application/octet-stream", encode(&padded))
        }
    }
}
