//! Facts of the template.

use minijinja::{Value, context};
use results::Variant;

use super::costs::{Paid, cost, memory_in_short, speed_in_short, weights};
use super::distance::{Distance, MEASURES, distance};
use super::fits::Fits;
use crate::format::grouped;
use crate::lang::say;
use crate::page::{Page, count};
use crate::select::Select;
use crate::stats::Side;
use crate::text::common::{self, Check};

/// Returns what the template says.
pub(super) fn facts(page: &Page<'_>, checks: &[Check]) -> Value {
    let (lang, results) = (page.lang, page.results);
    let sizes: Vec<String> = results.sizes().into_iter().map(count).collect();
    let of_size = |size: &String| say!(lang, " ({size} records)", "（{size} 条记录）");
    context! {
        failing_checks => checks.iter().filter(|check| check.holds == Some(false)).collect::<Vec<_>>(),
        others => results.others().into_iter().map(|variant| other(page, variant)).collect::<Value>(),
        of_size => sizes.last().map_or_else(String::new, of_size),
        size_count => sizes.len(),
        sizes => if sizes.is_empty() { "–".to_owned() } else { lang.list(&sizes) },
        int8 => results.variant("int8").is_some(),
        chance => chance(page),
        fits => Fits::of(page),
        // Training is as long as epochs say, not as steps do.
        epochs => results.experiment.setting("max_steps").is_none(),
        ..common::facts(page, checks)
    }
}

/// Compares a variant with the reference.
fn other(page: &Page<'_>, variant: &Variant) -> Value {
    let select = Select { variant: &variant.name, size: page.results.sizes().last().copied() };
    let parts = [memory_in_short(page, select), speed_in_short(page, select), quality_in_short(page, select)];
    let (quality, seeds) = quality(page, select);
    context! {
        label => page.lang.label(variant),
        in_short => parts.into_iter().flatten().collect::<Vec<_>>(),
        weights => weights(page, variant),
        memory => cost(page, variant, Paid::Memory),
        speed => cost(page, variant, Paid::Time),
        quality,
        seeds,
    }
}

/// Describes the first measure of quality that there is.
fn quality_in_short(page: &Page<'_>, select: Select<'_>) -> Option<String> {
    let lang = page.lang;
    let (measure, found) = MEASURES
        .iter()
        .find_map(|measure| Some((measure, distance(page.results, select, measure.metric)?)))?;
    let what = measure.name(lang);
    Some(match found.side(measure.more_is_better) {
        Some(Side::Around) => say!(lang, "no difference in {what} beyond noise", "{what}没有超出噪声的差异"),
        Some(Side::Above) => say!(lang, "better {what}", "{what}更好"),
        Some(Side::Below) => say!(lang, "worse {what}", "{what}更差"),
        None if found.has_no_spread() => {
            say!(lang, "{what} with no spread over seeds", "各种子的{what}没有离散")
        }
        None => {
            let (one, reference) = (found.shown(measure), page.label(&page.results.experiment.reference));
            say!(
                lang,
                "{what} {one} against {reference} (one seed)",
                "{what}与“{reference}”相差 {one}（单个种子）"
            )
        }
    })
}

/// Groups every measure on the most data by what can be said of it; returns the seeds that it rests on too.
fn quality(page: &Page<'_>, select: Select<'_>) -> (Vec<String>, usize) {
    let lang = page.lang;
    // Better, worse, no difference, equal, without spread, of one seed.
    let mut kinds: [Vec<String>; 6] = Default::default();
    let mut seeds = 1;
    for measure in &MEASURES {
        let Some(found) = distance(page.results, select, measure.metric) else { continue };
        let kind = match found.side(measure.more_is_better) {
            Some(Side::Above) => 0,
            Some(Side::Below) => 1,
            Some(Side::Around) => 2,
            None if found.is_zero() => 3,
            None if found.has_no_spread() => 4,
            None => 5,
        };
        if let Distance::Known(found) = found {
            seeds = found.n;
        }
        let (what, shown) = (measure.name(lang), found.shown(measure));
        let unit = if measure.is_part { lang.pick(" percentage points", " 个百分点") } else { "" };
        kinds[kind].push(say!(lang, "{what} ({shown}{unit})", "{what}（{shown}{unit}）"));
    }
    let said = |(kind, found): (usize, &Vec<String>)| {
        let list = lang.list(found);
        match kind {
            0 => say!(lang, "**better** in {list}", "{list}**更好**"),
            1 => say!(lang, "**worse** in {list}", "{list}**更差**"),
            2 => say!(lang, "**no difference beyond noise** in {list}", "{list}**没有超出噪声的差异**"),
            3 => say!(lang, "equal with every seed in {list}", "{list}在所有种子下都相等"),
            4 => say!(
                lang,
                "the same difference with every seed in {list}, which says nothing of other seeds",
                "{list}在所有种子下相差同样多，无法推断其他种子的情况"
            ),
            _ => say!(
                lang,
                "differences with one seed, which cannot be told from noise: {list}",
                "单个种子下的差异（无法与噪声区分）：{list}"
            ),
        }
    };
    (kinds.iter().enumerate().filter(|(_, found)| !found.is_empty()).map(said).collect(), seeds)
}

/// Counts the comparisons of quality that find a difference, and those that would if there were none; nothing of fewer
/// than two.
fn chance(page: &Page<'_>) -> Option<Value> {
    let results = page.results;
    let mut sides = Vec::new();
    for variant in results.others() {
        for size in results.sizes() {
            let select = Select { variant: &variant.name, size: Some(size) };
            sides.extend(MEASURES.iter().filter_map(|measure| {
                distance(results, select, measure.metric).and_then(|found| found.side(measure.more_is_better))
            }));
        }
    }
    let (all, apart) = (sides.len(), sides.iter().filter(|side| **side != Side::Around).count());
    (all > 1).then(|| context! { apart, all, expected => grouped(all as f64 * 0.05, 1) })
}
