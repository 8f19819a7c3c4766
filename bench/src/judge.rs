//! What was promised beside what was seen. A run in which nothing went wrong because nothing was tried proves nothing: it is void.

use std::fmt::Display;

use anyhow::{Result, ensure};

/// Judges one cell, line by line.
#[derive(Debug)]
pub(crate) struct Judge {
    /// In a short run figures of time are printed and not judged: a machine that does other work besides says nothing by them.
    is_short: bool,
    missed: usize,
    void: usize,
}

impl Judge {
    pub(crate) fn new(is_short: bool) -> Self {
        Self { is_short, missed: 0, void: 0 }
    }

    /// What must have happened for the rest to prove anything.
    pub(crate) fn bit(&mut self, what: impl Display, happened: bool) {
        self.void += usize::from(!happened);
        line(if happened { "so it was" } else { "VOID" }, &what);
    }

    /// A count, a state or an order.
    pub(crate) fn holds(&mut self, what: impl Display, holds: bool) {
        self.missed += usize::from(!holds);
        line(if holds { "held" } else { "MISSED" }, &what);
    }

    /// A figure of time.
    pub(crate) fn in_time(&mut self, what: impl Display, holds: bool) {
        if self.is_short {
            line(if holds { "held" } else { "not judged" }, &what);
        } else {
            self.holds(what, holds);
        }
    }

    /// An error where something was missed or void.
    pub(crate) fn finish(self) -> Result<()> {
        ensure!(self.void == 0, "void: what was to be survived did not happen, so this run proves nothing");
        ensure!(self.missed == 0, "{} of the promises were missed", self.missed);
        Ok(())
    }
}

fn line(word: &str, what: &impl Display) {
    println!("{word:<10}  {what}");
}
