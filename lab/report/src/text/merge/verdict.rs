//! What the numbers say of one merge.

use crate::results::{Results, Select, Variant};

/// Mean KL divergence in nats that sums in float32 explain, whatever their order.
const KL_FLOAT32: f64 = 1e-6;

/// What a variant turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// What the others are compared with.
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

/// What a wrong merge looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Fewer weights changed than in a right merge.
    LeftOut,
    /// Worse than the base: weights are in the wrong place, or have the wrong sign.
    Damaged,
    /// As many weights changed as in a right merge, and to a model that works: by the wrong amount.
    Scale,
    /// Nothing more can be said.
    Unknown,
}

/// What was measured of one variant, the worst of its runs.
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

/// What the numbers say of `variant`.
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
    let rounding = rounding_limit(&results.experiment.run_file, &results.experiment.profile);
    if rounding > KL_FLOAT32 && near(rounding) == Some(true) && found.tokens.is_none_or(|tokens| tokens > 0.8)
    {
        return Verdict::Rounded;
    }
    if name.contains("nf4") || name.contains("int8") || name.contains("fp4") {
        return Verdict::Quantised;
    }
    Verdict::Wrong(fault(results, &found))
}

/// Nats by which rounding to the precision in the run file may move a distribution (as `merge --verify` has them). Of the
/// profiles in the file only that of the run counts.
fn rounding_limit(run_file: &str, profile: &str) -> f64 {
    let own = format!("profiles.{profile}");
    let (mut counts, mut limit) = (true, KL_FLOAT32);
    for line in run_file.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_start_matches('[').trim_end_matches(']');
            counts = !section.starts_with("profiles.")
                || section == own
                || section.starts_with(&format!("{own}."));
        }
        let Some((key, value)) = line.split_once('=').filter(|(key, _)| counts && key.contains("dtype"))
        else {
            continue;
        };
        // The files' precision, where it is told apart from that of computing.
        if !run_file.contains("merge_dtype") || key.trim() == "merge_dtype" {
            limit = match value.trim().trim_matches('"') {
                "bfloat16" => 2e-2,
                "float16" => 1e-3,
                _ => KL_FLOAT32,
            };
        }
    }
    limit
}

/// Whether a variant answers and predicts as the base does, where the reference does not.
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

/// What a variant answered, in order.
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
        let is = |file, profile, limit: f64| rounding_limit(file, profile).to_bits() == limit.to_bits();
        assert!(is(file, "default", KL_FLOAT32) && is(file, "7b", 2e-2));
        assert!(is("dtype = \"float16\"", "", 1e-3));
    }
}
