//! Differences of a variant to LoRA.

use crate::format::grouped;
use crate::lang::Lang;
use crate::select::{Results, Select};
use crate::stats::{Interval, Side, interval};

/// A number that quality is measured by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measure {
    pub(super) metric: &'static str,
    names: [&'static str; 2],
    pub(super) more_is_better: bool,
    /// True for a part, shown as per cent.
    pub(super) is_part: bool,
}

/// Measures of quality, in the order of the tables.
pub(super) const MEASURES: [Measure; 4] = [
    Measure::new("val_loss_final", ["validation loss", "验证损失"], false, false),
    Measure::new("perplexity", ["perplexity", "困惑度"], false, false),
    Measure::new("exact_match", ["exact match", "精确匹配"], true, true),
    Measure::new("rouge_l", ["ROUGE-L", "ROUGE-L"], true, false),
];

impl Measure {
    const fn new(
        metric: &'static str,
        names: [&'static str; 2],
        more_is_better: bool,
        is_part: bool,
    ) -> Self {
        Self { metric, names, more_is_better, is_part }
    }

    pub(super) fn name(&self, lang: Lang) -> &'static str {
        lang.pick(self.names[0], self.names[1])
    }

    /// Shows a value or a difference.
    pub(super) fn show(&self, value: f64) -> String {
        if self.is_part { grouped(value * 100.0, 1) } else { grouped(value, 3) }
    }
}

/// Mean of paired differences, or ratios.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Distance {
    /// The interval over seeds.
    Known(Interval),
    /// One pair, of which nothing can be said but how large its difference is.
    One(f64),
}

impl Distance {
    /// Returns the side of 1 that a ratio is on; nothing of one seed.
    pub(super) fn side_of_one(&self) -> Option<Side> {
        match self {
            Self::Known(found) => Some(found.side_of(1.0)),
            Self::One(_) => None,
        }
    }

    /// Returns the mean; of one pair, its number.
    pub(super) fn mean(&self) -> f64 {
        match *self {
            Self::Known(found) => found.mean,
            Self::One(one) => one,
        }
    }

    /// Returns true if there is no difference at all.
    pub(super) fn is_zero(&self) -> bool {
        self.has_no_spread() && matches!(self, Self::Known(found) if found.mean == 0.0)
    }

    /// Formats it with its sign, and its interval where there is one: "+0.012 [−0.003, 0.027]".
    pub(super) fn shown(&self, measure: &Measure) -> String {
        let ends = match *self {
            Self::Known(found) if !self.has_no_spread() => {
                format!("\u{a0}[{},\u{a0}{}]", measure.show(found.low), measure.show(found.high))
            }
            _ => String::new(),
        };
        let (mean, shown) = (self.mean(), measure.show(self.mean()));
        let is_more = mean > 0.0 && shown.chars().any(|letter| matches!(letter, '1'..='9'));
        format!("{}{shown}{ends}", if is_more { "+" } else { "" })
    }

    /// Returns true if every seed gave the same difference: such an interval is a point, and says nothing of other seeds.
    pub(super) fn has_no_spread(&self) -> bool {
        matches!(self, Self::Known(found) if found.high - found.low <= f64::EPSILON * found.mean.abs())
    }

    /// Tells better, worse, or no difference beyond noise; nothing where it cannot be told.
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

/// Returns the difference to LoRA with the same seeds; nothing where one of the two was not measured.
pub(super) fn distance(results: &Results, select: Select<'_>, metric: &str) -> Option<Distance> {
    let pairs = results.seed_pairs(select, metric);
    let differences: Vec<f64> = pairs.iter().map(|pair| pair.value - pair.reference).collect();
    interval(&differences).map(Distance::Known).or_else(|| differences.first().copied().map(Distance::One))
}

/// Returns LoRA's number over the variant's, with the same seeds: a speed-up where the number is a time.
pub(super) fn gain(results: &Results, select: Select<'_>, metric: &str) -> Option<Distance> {
    let pairs = results.seed_pairs(select, metric);
    let logs = pairs.iter().filter(|pair| pair.value > 0.0 && pair.reference > 0.0);
    let logs: Vec<f64> = logs.map(|pair| (pair.reference / pair.value).ln()).collect();
    match interval(&logs) {
        Some(found) => Some(Distance::Known(found.exp())),
        None => logs.first().map(|log| Distance::One(log.exp())),
    }
}
