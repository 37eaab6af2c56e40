//! How far a variant is from LoRA.

use crate::results::{Results, Select};
use crate::stats::{Interval, Side, interval};

/// A number that quality is measured by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measure {
    pub(super) metric: &'static str,
    pub(super) en: &'static str,
    pub(super) zh: &'static str,
    /// Whether more is better.
    pub(super) more_is_better: bool,
    /// Whether it is a part, shown as per cent.
    pub(super) is_part: bool,
}

/// What quality is measured by, in the order of the tables.
pub(super) const MEASURES: [Measure; 4] = [
    Measure {
        metric: "val_loss_final",
        en: "validation loss",
        zh: "验证损失",
        more_is_better: false,
        is_part: false,
    },
    Measure {
        metric: "perplexity", en: "perplexity", zh: "困惑度", more_is_better: false, is_part: false
    },
    Measure {
        metric: "exact_match", en: "exact match", zh: "精确匹配", more_is_better: true, is_part: true
    },
    Measure { metric: "rouge_l", en: "ROUGE-L", zh: "ROUGE-L", more_is_better: true, is_part: false },
];

impl Measure {
    /// A value or a difference.
    pub(super) fn show(&self, value: f64) -> String {
        if self.is_part { crate::format::grouped(value * 100.0, 1) } else { crate::format::grouped(value, 3) }
    }
}

/// What paired differences say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Distance {
    /// The interval over seeds.
    Known(Interval),
    /// One pair, of which nothing can be said but how large its difference is.
    One(f64),
}

impl Distance {
    /// Where a ratio lies, seen from 1; nothing of one seed.
    pub(super) fn side_of_one(&self) -> Option<Side> {
        match self {
            Self::Known(found) => Some(found.side_of(1.0)),
            Self::One(_) => None,
        }
    }

    /// Whether there is no difference at all.
    pub(super) fn is_zero(&self) -> bool {
        self.has_no_spread() && matches!(self, Self::Known(found) if found.mean == 0.0)
    }

    /// With its sign, and its interval where there is one: "+0.012 [−0.003, 0.027]".
    pub(super) fn shown(&self, measure: &Measure) -> String {
        let (mean, ends) = match *self {
            Self::Known(found) if !self.has_no_spread() => {
                let (low, high) = (measure.show(found.low), measure.show(found.high));
                (found.mean, format!("\u{a0}[{low},\u{a0}{high}]"))
            }
            Self::Known(found) => (found.mean, String::new()),
            Self::One(one) => (one, String::new()),
        };
        let shown = measure.show(mean);
        let is_more = mean > 0.0 && shown.chars().any(|letter| matches!(letter, '1'..='9'));
        format!("{}{shown}{ends}", if is_more { "+" } else { "" })
    }

    /// Whether every seed gave one and the same difference: such an interval is a point, and says nothing of other seeds.
    pub(super) fn has_no_spread(&self) -> bool {
        matches!(self, Self::Known(found) if found.high - found.low <= f64::EPSILON * found.mean.abs())
    }

    /// Better, worse, or no difference beyond noise; nothing where it cannot be told.
    pub(super) fn side(&self, more_is_better: bool) -> Option<Side> {
        let Self::Known(found) = self else { return None };
        if self.has_no_spread() {
            return None;
        }
        Some(match (found.side_of(0.0), more_is_better) {
            (Side::Below, false) => Side::Above,
            (Side::Above, false) => Side::Below,
            (side, _) => side,
        })
    }
}

/// The difference to LoRA with the same seeds; nothing where one of the two was not measured.
pub(super) fn distance(results: &Results, name: &str, size: Option<u64>, metric: &str) -> Option<Distance> {
    let pairs = results.seed_pairs(Select { variant: name, size }, metric);
    let differences: Vec<f64> = pairs.iter().map(|pair| pair.value - pair.reference).collect();
    interval(&differences).map(Distance::Known).or_else(|| differences.first().copied().map(Distance::One))
}

/// LoRA's number over the variant's, with the same seeds: a speed-up where the number is a time.
pub(super) fn gain(results: &Results, name: &str, size: Option<u64>, metric: &str) -> Option<Distance> {
    let pairs = results.seed_pairs(Select { variant: name, size }, metric);
    let logs = pairs.iter().filter(|pair| pair.value > 0.0 && pair.reference > 0.0);
    let logs: Vec<f64> = logs.map(|pair| (pair.reference / pair.value).ln()).collect();
    match interval(&logs) {
        Some(found) => Some(Distance::Known(found.exp())),
        None => logs.first().map(|log| Distance::One(log.exp())),
    }
}
