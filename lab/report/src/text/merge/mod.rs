//! The report of merge-compare: one adapter, merged in several ways.

mod facts;
mod tables;
mod verdict;

use anyhow::Result;

use self::facts::{checks, facts};
use super::common::{Check, bars, insert, unit_of};
use super::losses::losses;
use crate::lang::say;
use crate::page::{Page, Source};

struct Merge {
    checks: Vec<Check>,
}

/// Writes the report.
pub(crate) fn write(page: &mut Page<'_>) -> Result<()> {
    let merge = Merge { checks: checks(page) };
    let facts = facts(page, &merge.checks);
    page.write(include_str!("../merge.md.j2"), &facts, &merge)
}

impl Source for Merge {
    fn insert(&self, page: &mut Page<'_>, name: &str, caption: &str) -> bool {
        let lang = page.chart_lang;
        let mut chart = |metric: &str, factor: f64, label: &str| {
            let chart = bars(page, name, metric, factor, label);
            page.figure(chart, caption);
        };
        match name {
            "decode-speed" => {
                chart(
                    "decode_tokens_per_s",
                    1.0,
                    lang.pick("decoding speed, tokens/s", "解码速度（token/s）"),
                );
            }
            "peak-memory" => {
                chart(
                    "peak_host_mib",
                    1.0,
                    lang.pick("peak memory of the process, MiB", "进程内存峰值（MiB）"),
                );
            }
            "device-memory" => {
                chart("peak_device_mib", 1.0, lang.pick("peak memory on the device, MiB", "显存峰值（MiB）"));
            }
            "load-time" => {
                let (unit, per_second) = unit_of(page.results, None, "load_s");
                let label = say!(lang, "time to load, {unit}", "加载时间（{unit}）");
                let chart = bars(page, name, "load_s", per_second, &label);
                page.figure(chart, caption);
            }
            "agreement" => tables::agreement(page, caption),
            "quality" => tables::quality(page, caption),
            "cost" => tables::cost(page, caption),
            "logit-differences" => {
                let chart = tables::distribution(page);
                page.figure(chart, caption);
            }
            other => match losses(page, other) {
                Some(chart) => page.figure(chart, caption),
                None => return insert(page, &self.checks, other, caption),
            },
        }
        true
    }
}
