//! What the limits are to a call, for the operator. Nothing is charged.

use adapters::Caller;
use cache::limits::{Charge, Side, Standing};
use serde_json::{Value, json};

use super::{Limits, millis};
use crate::catalog::Tool;

impl Limits {
    /// Every limit that is for a call of `tool` by `caller`, and what is left of it.
    pub(crate) async fn explain(&self, caller: &Caller, tool: &Tool) -> Value {
        let (of_caller, of_downstream) = (self.of_caller(caller, tool), self.of_downstream(tool));
        let tenant = self.subjects.tenant(caller);
        let downstream = tool.name.downstream.to_string();
        let sides = [
            ("caller", Side::Caller { tenant }, &of_caller[..]),
            ("downstream", Side::Downstream { name: &downstream }, &of_downstream[..]),
        ];
        let mut told = Vec::new();
        for (word, side, charges) in sides {
            if charges.is_empty() {
                continue;
            }
            let standings = self.limiter.standings(side, charges).await;
            told.extend(
                charges.iter().zip(&standings).map(|(charge, standing)| self.one(word, charge, standing, tool)),
            );
        }
        told.into()
    }

    fn one(&self, side: &str, charge: &Charge, standing: &Standing, tool: &Tool) -> Value {
        let limit = &charge.limit;
        let rate = config::Rate { amount: limit.rate.amount, per: limit.rate.per };
        let rule = self.rules.iter().find(|rule| rule.limit.name == limit.name);
        json!({
            "name": &*limit.name, "side": side, "counts": rule.map(|rule| rule.counts(tool)), "rate": rate.to_string(),
            "burst": limit.burst, "cost": charge.cost, "left": standing.remaining, "full_again_ms": millis(standing.reset),
        })
    }
}
