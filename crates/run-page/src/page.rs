//! The page of runs: one file that loads nothing.

use crate::RunRecord;
use crate::escape::json_in_script;
use crate::record::to_json;

/// The page, with places for the style and for the figures.
const PAGE: &str = include_str!("page.html");

/// Makes the page of `runs` with their figures in it: of one in detail, of several beside each other.
pub fn page(runs: &[RunRecord]) -> String {
    with_data(&json_in_script(&to_json(runs).to_string()))
}

/// Makes the page that asks its server for the figures.
pub(crate) fn live_page() -> String {
    with_data("null")
}

fn with_data(json: &str) -> String {
    // The style first: what the figures hold is not looked at again.
    PAGE.replacen("/*STYLE*/", serve::HOUSE_STYLE, 1).replacen("/*DATA*/null", json, 1)
}
