//! The text of reports: templates in both languages over facts, and the tables and plots that they name.

mod common;
mod lab;
mod losses;
mod merge;
mod pictures;
mod qlora;
mod quality;
mod samples;
mod settings;
mod task;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::Result;
use xtask::cover::Cover;

use self::task::{title, write_task};
use crate::lang::{Lang, plain, say};
use crate::page::Page;
use crate::select::Results;

/// Writes the whole report: of one experiment, or of both, in the order of the lab's tasks, as what a lab hands in.
pub(crate) fn compose<'a>(
    results: &'a [Results],
    lang: Lang,
    chart_lang: Lang,
    source: Option<&'a Path>,
    cover: &Cover,
) -> Result<Page<'a>> {
    let is_lab = results.len() > 1;
    let mut page = Page::new(&results[0], lang, chart_lang, source);
    if is_lab {
        lab::write(&mut page, results)?;
    } else {
        page.doc.title = title(&page);
        write_task(&mut page)?;
    }
    subtitle(&mut page);
    let lines = [
        (lang.pick("Course", "课程"), &cover.course),
        (lang.pick("Name", "姓名"), &cover.author),
        (lang.pick("Student number", "学号"), &cover.student_id),
    ];
    // Of what is handed in, the lines that nobody gave are left to be filled in by hand.
    if is_lab || lines.iter().any(|(_, value)| value.is_some()) {
        let line =
            |(name, value): (&str, &Option<String>)| (name.to_owned(), value.clone().unwrap_or_default());
        page.doc.cover = lines.into_iter().map(line).collect();
    }
    Ok(page)
}

fn subtitle(page: &mut Page<'_>) {
    let (lang, experiment) = (page.lang, &page.results.experiment);
    let mut parts = Vec::new();
    if !experiment.profile.is_empty() {
        let profile = plain(&experiment.profile);
        parts.push(say!(lang, "profile {profile}", "配置：{profile}"));
    }
    parts.extend(experiment.environment.date.clone());
    if let Some(commit) = lang.commit(experiment, 12) {
        parts.push(say!(lang, "commit {commit}", "提交：{commit}"));
    }
    page.doc.subtitle = parts.join(" · ");
}
