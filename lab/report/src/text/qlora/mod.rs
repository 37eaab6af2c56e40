//! The report of lora-vs-qlora: LoRA and QLoRA on growing data.

mod checks;
mod costs;
mod distance;
mod facts;
mod fits;
mod plots;
mod tables;

use anyhow::Result;

use self::facts::facts;
use super::common::{Check, insert};
use crate::page::{Page, Source};

struct Qlora {
    checks: Vec<Check>,
}

/// Writes the report.
pub(crate) fn write(page: &mut Page<'_>) -> Result<()> {
    let qlora = Qlora { checks: checks::checks(page) };
    let facts = facts(page, &qlora.checks);
    page.write(include_str!("../qlora.md.j2"), &facts, &qlora)
}

impl Source for Qlora {
    fn insert(&self, page: &mut Page<'_>, name: &str, caption: &str) -> bool {
        match name {
            "cost" => tables::cost(page, caption),
            "phases" => tables::phases(page, caption),
            "quality" => tables::quality(page, caption),
            "distances" => tables::distances(page, caption),
            "fits" => tables::fits(page, caption),
            other => match plots::chart(page, other) {
                Some(chart) => page.figure(chart, caption),
                None => return insert(page, &self.checks, other, caption),
            },
        }
        true
    }
}
