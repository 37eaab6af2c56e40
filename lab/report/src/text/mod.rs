//! The templates: what the report says, in both languages, from the numbers.

mod common;
mod merge;
mod qlora;

use std::path::Path;

use crate::lang::{Lang, say};
use crate::page::Page;
use crate::results::{Kind, Results, plain, shown};

/// Writes the whole report.
pub fn compose<'a>(results: &'a Results, lang: Lang, chart_lang: Lang, source: Option<&'a Path>) -> Page<'a> {
    let mut page = Page::new(results, lang, chart_lang, source);
    head(&mut page);
    match results.experiment.experiment {
        Kind::MergeCompare => {
            merge::summary(&mut page);
            merge::question(&mut page);
            merge::method(&mut page);
            merge::implementation(&mut page);
            merge::results(&mut page);
            common::failed(&mut page);
            common::samples(&mut page);
            merge::discussion(&mut page);
            merge::limits(&mut page);
        }
        Kind::LoraVsQlora => {
            qlora::summary(&mut page);
            qlora::question(&mut page);
            qlora::method(&mut page);
            qlora::implementation(&mut page);
            qlora::results(&mut page);
            common::failed(&mut page);
            common::samples(&mut page);
            qlora::discussion(&mut page);
            qlora::limits(&mut page);
        }
    }
    common::reproduce(&mut page);
    common::environment(&mut page);
    page
}

fn head(page: &mut Page<'_>) {
    let (lang, experiment) = (page.lang, &page.results.experiment);
    // A title in the run file is in one language; the template's is in both.
    page.doc.title = match (experiment.title.is_empty() || lang == Lang::Zh, experiment.experiment) {
        (false, _) => plain(&experiment.title),
        (true, Kind::MergeCompare) => {
            lang.pick("Merging a LoRA adapter: the ways compared", "不同权重合并方式的效果对比").to_owned()
        }
        (true, Kind::LoraVsQlora) => {
            lang.pick("LoRA against QLoRA", "LoRA 微调与 QLoRA 微调的性能对比").to_owned()
        }
    };
    let mut parts = Vec::new();
    if !experiment.profile.is_empty() {
        let profile = plain(&experiment.profile);
        parts.push(say!(lang, "profile {profile}", "配置：{profile}"));
    }
    parts.extend(shown(&experiment.environment.date));
    if let Some(commit) = experiment.commit(lang, 12) {
        parts.push(say!(lang, "commit {commit}", "提交：{commit}"));
    }
    page.doc.subtitle = parts.join(" · ");
}
