//! Fits of time and loss against the amount of data.

use serde::Serialize;

use crate::format::{seconds, significant};
use crate::lang::say;
use crate::page::Page;
use crate::select::{Results, Select};
use crate::stats::{Line, Power, line, power, summary};

/// R² below which a fit is no description.
const GOOD_R2: f64 = 0.9;

/// Returns every measured point of a variant: records, number.
fn points(results: &Results, name: &str, metric: &str) -> Vec<(f64, f64)> {
    let cells = results.cells_of(Select::all(name));
    cells.filter_map(|cell| Some((cell.size? as f64, cell.metric(metric)?))).collect()
}

pub(super) fn time_fit(results: &Results, name: &str) -> Option<Line> {
    line(&points(results, name, "train_s"))
}

pub(super) fn loss_fit(results: &Results, name: &str) -> Option<Power> {
    power(&points(results, name, "val_loss_final"))
}

/// Sentences about the fits, variant by variant.
#[derive(Debug, Default, Serialize)]
pub(super) struct Fits {
    /// Time is a straight line: time a record.
    straight: Vec<String>,
    not_straight: Vec<String>,
    /// Straight ones with a negative fixed time.
    negative: Vec<String>,
    /// Largest difference between runs on the same data.
    spread: String,
    /// Loss is a power law: its fall with ten times the data.
    falls: Vec<String>,
    no_power: Vec<String>,
}

impl Fits {
    pub(super) fn of(page: &Page<'_>) -> Self {
        let (lang, results) = (page.lang, page.results);
        let mut fits = Self::default();
        let mut most_spread = 0.0f64;
        for variant in results.ran() {
            let label = lang.label(variant);
            if let Some(fit) = loss_fit(results, &variant.name) {
                let (exponent, r2) = (significant(fit.exponent, 3), format!("{:.3}", fit.r2));
                let part = significant((1.0 - 10f64.powf(fit.exponent)) * 100.0, 2);
                if fit.r2 >= GOOD_R2 && fit.exponent < 0.0 {
                    fits.falls.push(say!(
                        lang,
                        "{part}\u{a0}% ({label}, exponent {exponent}, R² = {r2})",
                        "{part}\u{a0}%（“{label}”，幂指数 {exponent}，R² = {r2}）"
                    ));
                } else {
                    fits.no_power.push(say!(
                        lang,
                        "{label} (exponent {exponent}, R² = {r2})",
                        "“{label}”（幂指数 {exponent}，R² = {r2}）"
                    ));
                }
            }
            let Some(fit) = time_fit(results, &variant.name) else { continue };
            let (each, r2) = (seconds(fit.slope.abs()), format!("{:.3}", fit.r2));
            if fit.r2 < GOOD_R2 || fit.slope <= 0.0 {
                fits.not_straight.push(say!(lang, "{label} (R² = {r2})", "“{label}”（R² = {r2}）"));
                continue;
            }
            fits.straight.push(say!(lang, "{each} ({label}, R² = {r2})", "{each}（“{label}”，R² = {r2}）"));
            let spread = spread_of_time(results, &variant.name);
            if fit.offset < 0.0 && spread > -fit.offset {
                fits.negative.push(label);
                most_spread = most_spread.max(spread);
            }
        }
        fits.spread = seconds(most_spread);
        fits
    }
}

/// Returns the largest difference between runs of a variant on the same data.
fn spread_of_time(results: &Results, variant: &str) -> f64 {
    let spreads = results.sizes().into_iter().filter_map(|size| {
        let found = summary(&results.values(Select { variant, size: Some(size) }, "train_s"))?;
        Some(found.high - found.low)
    });
    spreads.fold(0.0, f64::max)
}
