//! Checks that hold for every correct run.

use crate::format::{bytes, percent, significant};
use crate::lang::say;
use crate::page::Page;
use crate::select::Select;
use crate::text::common::Check;

/// Validation loss of a quantised base over LoRA's that no sound quantisation explains, relative.
const LOSS_LIMIT: f64 = 0.25;

pub(super) fn checks(page: &Page<'_>) -> Vec<Check> {
    let mut checks = memory_order(page);
    checks.extend(adapters_are_one_size(page));
    checks.extend(loss_falls(page));
    checks.extend(loss_is_near(page));
    checks
}

fn middle(page: &Page<'_>, variant: &str, metric: &str) -> Option<f64> {
    page.results.median(Select { variant, size: page.results.sizes().last().copied() }, metric)
}

/// Checks that the bytes of weights descend with the bits of a weight.
fn memory_order(page: &Page<'_>) -> Vec<Check> {
    let lang = page.lang;
    let order = [page.results.experiment.reference.as_str(), "int8", "nf4", "nf4-dq"];
    let known = order.iter().filter_map(|name| Some((page.label(name), middle(page, name, "base_bytes")?)));
    let known: Vec<(String, f64)> = known.collect();
    let check = |pair: &[(String, f64)]| {
        let [(more, more_count), (less, less_count)] = pair else { return None };
        let (more_bytes, less_bytes) = (bytes(*more_count), bytes(*less_count));
        Some(Check {
            what: say!(
                lang,
                "Weights of the base: {less} takes less memory than {more}",
                "“{less}”的基座权重占用小于“{more}”"
            ),
            found: say!(lang, "{less_bytes} against {more_bytes}", "{less_bytes}，后者 {more_bytes}"),
            holds: Some(less_count < more_count),
        })
    };
    known.windows(2).filter_map(check).collect()
}

/// Checks that quantising the base changes nothing of the adapter's shape.
fn adapters_are_one_size(page: &Page<'_>) -> Option<Check> {
    let ran = page.results.ran();
    let sizes = ran.iter().filter_map(|variant| middle(page, &variant.name, "adapter_bytes"));
    let sizes: Vec<f64> = sizes.collect();
    let least = sizes.iter().copied().reduce(f64::min).filter(|_| sizes.len() > 1)?;
    let most = sizes.iter().copied().reduce(f64::max)?;
    let (low, high) = (bytes(least), bytes(most));
    Some(Check {
        what: page.lang.pick("All adapters are of one size", "各方案的适配器大小相同").to_owned(),
        found: if low == high { low } else { say!(page.lang, "{low} to {high}", "{low} 至 {high}") },
        // Names and metadata in the files may differ by a few bytes.
        holds: Some(most <= least * 1.02),
    })
}

/// Checks that every variant learns.
fn loss_falls(page: &Page<'_>) -> Vec<Check> {
    let lang = page.lang;
    let size = page.results.sizes().last().copied();
    let check = |variant: &results::Variant| {
        let cells = page.results.cells_of(Select { variant: &variant.name, size });
        let curve = cells.map(|cell| cell.curve("train_loss")).find(|curve| curve.len() > 3)?;
        let tenth = (curve.len() / 10).max(1);
        let mean = |part: &[(f64, f64)]| part.iter().map(|point| point.1).sum::<f64>() / part.len() as f64;
        let (before, after) = (mean(&curve[..tenth]), mean(&curve[curve.len() - tenth..]));
        let (label, first, last) = (lang.label(variant), significant(before, 3), significant(after, 3));
        Some(Check {
            what: say!(lang, "{label}: training loss falls", "“{label}”的训练损失下降"),
            found: say!(lang, "from {first} to {last}", "从 {first} 降到 {last}"),
            holds: Some(after < before),
        })
    };
    page.results.ran().into_iter().filter_map(check).collect()
}

/// Checks that a quantised base is near the dense one.
fn loss_is_near(page: &Page<'_>) -> Vec<Check> {
    let lang = page.lang;
    let dense = middle(page, &page.results.experiment.reference, "val_loss_final");
    let check = |variant: &results::Variant| {
        let more = middle(page, &variant.name, "val_loss_final")? / dense? - 1.0;
        let (label, shown, limit) = (lang.label(variant), percent(more.abs()), percent(LOSS_LIMIT));
        Some(Check {
            what: say!(
                lang,
                "{label}: validation loss at most {limit} above LoRA's",
                "“{label}”的验证损失至多比 LoRA 高 {limit}"
            ),
            found: if more >= 0.0 {
                say!(lang, "{shown} above", "高 {shown}")
            } else {
                say!(lang, "{shown} below", "低 {shown}")
            },
            holds: Some(more <= LOSS_LIMIT),
        })
    };
    page.results.others().into_iter().filter_map(check).collect()
}
