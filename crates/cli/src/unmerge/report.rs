//! The extracted layers as a table.

use std::fmt::Write;

use ::merge::Extracted;

/// Returns a line for each layer, and one for all together.
pub(crate) fn table(found: &[Extracted]) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{:<44} {:>14} {:>14} {:>9}", "layer", "norm of delta", "residual", "of delta");
    let mut line = |name: &str, delta: f64, residual: f64| {
        let part = 100.0 * residual / delta;
        let _ = writeln!(text, "{name:<44} {delta:>14.5} {residual:>14.2e} {part:>7.2} %");
    };
    for Extracted { layer, delta_norm, residual_norm } in found {
        line(layer.path.as_str(), *delta_norm, *residual_norm);
    }
    let root =
        |values: &dyn Fn(&Extracted) -> f64| found.iter().map(|f| values(f).powi(2)).sum::<f64>().sqrt();
    line("all", root(&|f| f.delta_norm), root(&|f| f.residual_norm));
    text
}
