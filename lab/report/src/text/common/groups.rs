//! A bar for each variant.

use crate::page::Page;
use crate::plots::{Chart, Content, Group};
use crate::results::Select;

/// A chart of one number of every variant that has it, each repeated measurement times `factor`.
pub(crate) fn bars(page: &Page<'_>, stem: &str, metric: &str, factor: f64, label: &str) -> Chart {
    let variants = page.results.experiment.variants.iter().enumerate();
    let groups = variants.filter_map(|(style, variant)| {
        let values: Vec<f64> = page.results.values(Select::all(&variant.name), metric);
        let values: Vec<f64> = values.into_iter().map(|value| value * factor).collect();
        (!values.is_empty()).then(|| Group { label: variant.label(page.chart_lang), style, values })
    });
    let content = Content::Bars { label: label.to_owned(), groups: groups.collect() };
    Chart { stem: stem.to_owned(), content }
}
