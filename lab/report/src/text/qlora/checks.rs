//! What has to be so of any right run.

use crate::format::{bytes, percent, significant};
use crate::lang::say;
use crate::page::Page;
use crate::results::Select;
use crate::stats::median;
use crate::text::common::{Check, label_of};

/// Validation loss of a quantised base over LoRA's that no quantisation of a sound kind explains, relative.
const LOSS_LIMIT: f64 = 0.25;

pub(super) fn checks(page: &Page<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    checks.extend(memory_order(page));
    checks.extend(adapters_are_one_size(page));
    checks.extend(loss_falls(page));
    checks.extend(loss_is_near(page));
    checks
}

fn middle(page: &Page<'_>, name: &str, metric: &str) -> Option<f64> {
    let size = page.results.sizes().last().copied();
    let values = page.results.values(Select { variant: name, size }, metric);
    (!values.is_empty()).then(|| median(&values))
}

/// Bytes of weights descend with the bits of a weight.
fn memory_order(page: &Page<'_>) -> Vec<Check> {
    let lang = page.lang;
    let reference = page.results.experiment.reference.as_str();
    let order = [reference, "int8", "nf4", "nf4-dq"];
    let known: Vec<(&str, f64)> =
        order.iter().filter_map(|name| Some((*name, middle(page, name, "base_bytes")?))).collect();
    let check = |pair: &[(&str, f64)]| {
        let (more, less) = (label_of(page, pair[0].0), label_of(page, pair[1].0));
        let (more_bytes, less_bytes) = (bytes(pair[0].1), bytes(pair[1].1));
        Check {
            what: say!(
                lang,
                "Weights of the base: {less} takes less memory than {more}",
                "“{less}”的基座权重占用小于“{more}”",
            ),
            found: say!(lang, "{less_bytes} against {more_bytes}", "{less_bytes}，后者 {more_bytes}"),
            holds: Some(pair[1].1 < pair[0].1),
        }
    };
    known.windows(2).map(check).collect()
}

/// Quantising the base changes nothing of the adapter's shape.
fn adapters_are_one_size(page: &Page<'_>) -> Option<Check> {
    let lang = page.lang;
    let ran = page.results.ran();
    let sizes: Vec<f64> =
        ran.iter().filter_map(|variant| middle(page, &variant.name, "adapter_bytes")).collect();
    let first = *sizes.first().filter(|_| sizes.len() > 1)?;
    let (least, most) =
        sizes.iter().fold((first, first), |(least, most), size| (least.min(*size), most.max(*size)));
    let (low, high) = (bytes(least), bytes(most));
    Some(Check {
        what: lang.pick("All adapters are of one size", "各方案的适配器大小相同").to_owned(),
        found: if low == high { low } else { say!(lang, "{low} to {high}", "{low} 至 {high}") },
        // Names and metadata in the files may differ by a few bytes.
        holds: Some(most <= least * 1.02),
    })
}

/// Every variant learns.
fn loss_falls(page: &Page<'_>) -> Vec<Check> {
    let lang = page.lang;
    let size = page.results.sizes().last().copied();
    let check = |variant: &&crate::results::Variant| {
        let select = Select { variant: &variant.name, size };
        let curve = page
            .results
            .cells_of(select)
            .map(|cell| cell.curve("train_loss"))
            .find(|curve| curve.len() > 3)?;
        let tenth = (curve.len() / 10).max(1);
        let mean = |part: &[(f64, f64)]| part.iter().map(|point| point.1).sum::<f64>() / part.len() as f64;
        let (before, after) = (mean(&curve[..tenth]), mean(&curve[curve.len() - tenth..]));
        let label = variant.label(lang);
        let (first, last) = (significant(before, 3), significant(after, 3));
        Some(Check {
            what: say!(lang, "{label}: training loss falls", "“{label}”的训练损失下降"),
            found: say!(lang, "from {first} to {last}", "从 {first} 降到 {last}"),
            holds: Some(after < before),
        })
    };
    page.results.ran().iter().filter_map(check).collect()
}

/// A quantised base is near the dense one.
fn loss_is_near(page: &Page<'_>) -> Vec<Check> {
    let lang = page.lang;
    let reference = page.results.experiment.reference.clone();
    let Some(dense) = middle(page, &reference, "val_loss_final") else { return Vec::new() };
    let check = |variant: &&crate::results::Variant| {
        let own = middle(page, &variant.name, "val_loss_final")?;
        let label = variant.label(lang);
        let more = own / dense - 1.0;
        let shown = percent(more.abs());
        let limit = percent(LOSS_LIMIT);
        Some(Check {
            what: say!(
                lang,
                "{label}: validation loss at most {limit} above LoRA's",
                "“{label}”的验证损失至多比 LoRA 高 {limit}",
            ),
            found: match (more >= 0.0, lang) {
                (true, crate::lang::Lang::En) => format!("{shown} above"),
                (false, crate::lang::Lang::En) => format!("{shown} below"),
                (true, crate::lang::Lang::Zh) => format!("高 {shown}"),
                (false, crate::lang::Lang::Zh) => format!("低 {shown}"),
            },
            holds: Some(more <= LOSS_LIMIT),
        })
    };
    super::others(page.results).iter().filter_map(check).collect()
}
