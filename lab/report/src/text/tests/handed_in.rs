//! The report of both tasks, as the lab's sheet asks for it.

use xtask::cover::Cover;

use super::made::{Made, root, text};
use super::synthetic::{MergeFaults, QloraFaults, lora_vs_qlora, merge_compare};
use crate::lang::Lang;
use crate::select::{Results, load, load_all};
use crate::text::compose;

/// Both tasks' results, and the directories that they lie in.
pub(super) fn both() -> ([tempfile::TempDir; 2], [Results; 2]) {
    let made = [merge_compare(MergeFaults::default()), lora_vs_qlora(QloraFaults::default())];
    let dirs = made.map(|made| {
        let dir = tempfile::tempdir().unwrap();
        Made::new(made).write(dir.path());
        dir
    });
    let results = dirs.each_ref().map(|dir| load(dir.path()).unwrap());
    (dirs, results)
}

#[test]
fn it_has_what_the_sheet_lists_in_its_own_words() {
    let (_dirs, results) = both();
    let cover =
        Cover { author: Some("张三".to_owned()), student_id: Some("2026001".to_owned()), course: None };
    let report = text(&results, Lang::Zh, Some(root()), &cover);
    for listed in [
        "任务1的实现思路",
        "任务1的实现代码及详细说明",
        "任务1的运行截图及详细说明",
        "任务2的实现思路",
        "任务2的实现代码及详细说明",
        "任务2的运行截图及详细说明",
        "实验总结与感悟",
    ] {
        assert!(
            report.lines().any(|line| line.trim_start_matches('#').trim() == listed),
            "{listed}: {report}"
        );
    }
    assert!(report.contains("姓名: 张三") && report.contains("学号: 2026001"));
    assert!(report.contains("【此处由学生本人填写"));
    assert!(text(&results, Lang::En, None, &Cover::default()).contains("[To be written by you"));
}

#[test]
fn names_of_plots_and_numbers_of_tables_and_figures_are_unique() {
    let (_dirs, results) = both();
    let page = compose(&results, Lang::En, Lang::En, None, &Cover::default()).unwrap();
    let mut stems: Vec<&str> = page.charts.iter().map(|chart| chart.stem.as_str()).collect();
    let count = stems.len();
    stems.sort_unstable();
    stems.dedup();
    assert_eq!(stems.len(), count);
    let report = crate::write::markdown(&page.doc, Lang::En);
    for kind in ["Table", "Figure"] {
        let numbers =
            report.lines().filter_map(|line| line.strip_prefix(kind)?.trim().split_once('.')?.0.parse().ok());
        let numbers: Vec<usize> = numbers.collect();
        assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>(), "{kind}");
    }
}

#[test]
fn the_tasks_come_in_their_order_and_two_of_one_kind_are_no_lab() {
    let (dirs, _) = both();
    let [first, second] = dirs.each_ref().map(|dir| dir.path().to_owned());
    let ordered = load_all(&[second, first.clone()]).unwrap();
    assert_eq!(ordered[0].dir, first);
    let error = load_all(&[first.clone(), first]).unwrap_err().to_string();
    assert!(error.contains("one merge-compare and one lora-vs-qlora"), "{error}");
}
