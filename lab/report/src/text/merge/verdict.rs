//! Classification of a merge by its numbers.

use results::{Experiment, Variant};
use serde::Serialize;

use crate::lang::Lang;
use crate::select::{Results, Select};

/// Mean KL divergence in nats that sums in float32 explain, whatever their order.
const KL_FLOAT32: f64 = 1e-6;

/// Class of a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// The variant that others are compared with.
    Reference,
    /// The control.
    Base,
    /// Nothing of it can be compared.
    Unmeasured,
    /// The reference, but for rounding in float32.
    Same,
    /// The reference, but for rounding to 16 bits.
    Rounded,
    /// The base: the adapter is not in it.
    EqualsBase,
    /// Near the reference, as far as quantisation lets it.
    Quantised,
    /// Something else.
    Wrong(Fault),
}

impl Verdict {
    /// Returns true for a merge that is not what it should be.
    pub(super) fn is_wrong(self) -> bool {
        matches!(self, Self::EqualsBase | Self::Wrong(_))
    }

    /// Returns `holds`; nothing where nothing was compared.
    pub(super) fn is_measured(self, holds: bool) -> Option<bool> {
        (self != Self::Unmeasured).then_some(holds)
    }

    /// Returns it in a word or two.
    pub(super) fn name(self, lang: Lang) -> &'static str {
        match self {
            Self::Reference => lang.pick("reference", "基准"),
            Self::Base => lang.pick("control", "对照"),
            Self::Unmeasured => lang.pick("not compared", "未比较"),
            Self::Same => lang.pick("equal", "一致"),
            Self::Rounded => lang.pick("equal in 16 bits", "16 位下一致"),
            Self::EqualsBase => lang.pick("is the base", "等于基座"),
            Self::Quantised => lang.pick("quantised", "量化"),
            Self::Wrong(_) => lang.pick("wrong", "错误"),
        }
    }
}

/// Kind of a wrong merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// Fewer weights changed than in a right merge.
    LeftOut,
    /// Worse than the base: weights are in the wrong place, or have the wrong sign.
    Damaged,
    /// The right weights changed, to a model that works: by the wrong amount.
    Scale,
    /// Nothing more can be said.
    Unknown,
}

/// Agreement of one variant with the reference, the worst of its runs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Agreement {
    pub(crate) tokens: Option<f64>,
    pub(crate) logit: Option<f64>,
    pub(crate) kl: Option<f64>,
    pub(crate) first: Option<f64>,
    pub(crate) changed: Option<f64>,
    pub(crate) perplexity: Option<f64>,
}

impl Agreement {
    pub(crate) fn of(results: &Results, name: &str) -> Self {
        let values = |metric| results.values(Select::all(name), metric);
        let least = |metric| values(metric).into_iter().reduce(f64::min);
        let most = |metric| values(metric).into_iter().reduce(f64::max);
        Self {
            tokens: least("token_agreement"),
            logit: most("max_logit_diff"),
            kl: most("mean_kl"),
            first: least("first_diverging_token"),
            changed: least("changed_fraction"),
            perplexity: least("perplexity"),
        }
    }
}

/// Classifies `variant`.
pub(crate) fn judge(results: &Results, variant: &Variant) -> Verdict {
    let name = variant.name.as_str();
    if name == results.experiment.reference {
        return Verdict::Reference;
    }
    if name == "base" {
        return Verdict::Base;
    }
    let found = Agreement::of(results, name);
    if equals_base(results, name, &found) {
        return Verdict::EqualsBase;
    }
    let same_tokens = found.tokens.map(|tokens| tokens >= 1.0);
    let near = |limit: f64| match (found.kl, found.logit) {
        (Some(kl), _) => Some(kl <= limit),
        (None, Some(logit)) => Some(logit <= limit * 1e3),
        (None, None) => None,
    };
    match (same_tokens, near(KL_FLOAT32)) {
        (None, None) => return Verdict::Unmeasured,
        (Some(false), _) | (_, Some(false)) => {}
        _ => return Verdict::Same,
    }
    let rounding = rounding_limit(&results.experiment);
    if rounding > KL_FLOAT32 && near(rounding) == Some(true) && found.tokens.is_none_or(|tokens| tokens > 0.8)
    {
        return Verdict::Rounded;
    }
    if name.contains("nf4") || name.contains("int8") || name.contains("fp4") {
        return Verdict::Quantised;
    }
    Verdict::Wrong(fault(results, &found))
}

/// Nats by which rounding to the files' precision, or that of computing where the run file has no other, may move a
/// distribution (as `merge --verify` has them).
fn rounding_limit(experiment: &Experiment) -> f64 {
    let key = if experiment.run_file.contains("merge_dtype") { "merge_dtype" } else { "dtype" };
    match experiment.setting(key).as_deref() {
        Some("bfloat16") => 2e-2,
        Some("float16") => 1e-3,
        _ => KL_FLOAT32,
    }
}

/// Returns true if a variant answers and predicts as the base does, and the reference does not.
fn equals_base(results: &Results, name: &str, found: &Agreement) -> bool {
    if found.changed.is_some_and(|changed| changed > 0.0) || found.tokens.is_some_and(|tokens| tokens >= 1.0)
    {
        return false;
    }
    let perplexity = |name: &str| Agreement::of(results, name).perplexity;
    let apart = |a: f64, b: f64| (a / b).ln().abs() > 1e-5;
    let by_perplexity =
        match (found.perplexity, perplexity("base"), perplexity(&results.experiment.reference)) {
            (Some(own), Some(base), Some(reference)) if apart(base, reference) => Some(!apart(own, base)),
            _ => None,
        };
    let by_texts = match (
        answers(results, name),
        answers(results, "base"),
        answers(results, &results.experiment.reference),
    ) {
        (Some(own), Some(base), Some(reference)) if base != reference => Some(own == base),
        _ => None,
    };
    match (by_perplexity, by_texts) {
        (Some(perplexity), Some(texts)) => perplexity && texts,
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => found.changed == Some(0.0),
    }
}

/// Returns the answers of a variant, in order.
pub(crate) fn answers<'a>(results: &'a Results, name: &'a str) -> Option<Vec<(String, &'a str)>> {
    let cell = results.cells_of(Select::all(name)).find(|cell| !cell.texts.is_empty())?;
    Some(cell.texts.iter().map(|text| (text.key(), text.answer.as_str())).collect())
}

fn fault(results: &Results, found: &Agreement) -> Fault {
    let right = ["hf", "state-dict"].into_iter().find_map(|name| Agreement::of(results, name).changed);
    if let (Some(own), Some(right)) = (found.changed, right)
        && own < right * 0.98
    {
        return Fault::LeftOut;
    }
    let base = Agreement::of(results, "base").perplexity;
    if let (Some(own), Some(base)) = (found.perplexity, base)
        && own > base
    {
        return Fault::Damaged;
    }
    if found.changed.is_some() && right.is_some() { Fault::Scale } else { Fault::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_precision_of_the_profile_that_ran_counts() {
        let file = "[profiles.default]\nmerge_dtype = \"float32\"\n[profiles.7b]\ndtype = \"float16\"\nmerge_dtype = \"bfloat16\"\n";
        let is = |file: &str, profile: &str, limit: f64| {
            let json =
                serde_json::json!({"experiment": "merge-compare", "profile": profile, "run_file": file});
            rounding_limit(&serde_json::from_value(json).unwrap()).to_bits() == limit.to_bits()
        };
        assert!(is(file, "default", KL_FLOAT32) && is(file, "7b", 2e-2));
        assert!(is("dtype = \"float16\"", "", 1e-3));
    }
}
