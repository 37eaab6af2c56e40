//! Pictures of runs: a command, and what the program wrote to its terminal.

use std::path::Path;

use results::Kind;

use crate::lang::say;
use crate::page::Page;
use crate::plots::{Chart, Content};
use crate::select::{Results, Select};

/// Lines of a picture: from the beginning and from the end.
const HEAD: usize = 12;
const TAIL: usize = 14;

/// A program's run in a log.
struct Run {
    /// Name of the log.
    log: String,
    program: &'static str,
    variant: String,
}

/// Returns true if any log is beside the results.
pub(super) fn any(results: &Results) -> bool {
    runs(results).iter().any(|run| said(&results.dir, run).is_some())
}

/// Adds a picture of each run whose log is beside the results.
pub(super) fn pictures(page: &mut Page<'_>) {
    let lang = page.lang;
    for run in runs(page.results) {
        let Some(lines) = said(&page.results.dir, &run) else { continue };
        let (label, program) = (page.label(&run.variant), run.program);
        let lines = shortened(&lines, lang.pick("lines left out", "行省略"), page.source);
        let caption = say!(
            lang,
            "{label}: the command {program} and what it wrote.",
            "“{label}”：{program} 的命令与输出。"
        );
        let stem = format!("run-{}-{program}", run.log);
        page.figure(Chart { stem, content: Content::Terminal { lines } }, &caption);
    }
    let reference = page.label(&page.results.experiment.reference);
    for (stem, caption) in [
        (
            "page-answer",
            say!(
                lang,
                "The page of generate in a browser: an answer of {reference}.",
                "浏览器中的 generate 页面：“{reference}”的回答。"
            ),
        ),
        (
            "page-compare",
            say!(
                lang,
                "The same question before and after fine-tuning, beside each other on the page.",
                "同一问题在微调前后的回答，在页面上并排比较。"
            ),
        ),
    ] {
        let path = page.results.dir.join("pictures").join(format!("{stem}.png"));
        if let Ok(png) = std::fs::read(path) {
            page.figure(Chart { stem: stem.to_owned(), content: Content::Picture { png } }, &caption);
        }
    }
}

/// Returns the runs that readers want to see: of merging the adapter, every merge, and the answers of one; of growing data each
/// variant's training on the most.
fn runs(results: &Results) -> Vec<Run> {
    let run = |log: &str, program, variant: &str| Run {
        log: log.replace('/', "_"),
        program,
        variant: variant.to_owned(),
    };
    let size = results.sizes().last().copied();
    let first =
        |variant: &str| results.cells_of(Select { variant, size }).next().map(|cell| cell.cell.clone());
    let ran = || results.ran().into_iter().map(|variant| variant.name.as_str());
    match results.experiment.experiment {
        Kind::MergeCompare => {
            let reference = results.experiment.reference.as_str();
            let mut runs = vec![run("adapter", "finetune", reference)];
            runs.extend(ran().map(|name| run(name, "merge", name)));
            runs.extend(first(reference).map(|cell| run(&cell, "evaluate", reference)));
            runs
        }
        Kind::LoraVsQlora => ran().filter_map(|name| Some(run(&first(name)?, "finetune", name))).collect(),
    }
}

/// Returns the last run of a program in its log: the command, and what it wrote; nothing without such a run.
fn said(dir: &Path, run: &Run) -> Option<Vec<String>> {
    let log = std::fs::read(dir.join("logs").join(format!("{}.log", run.log))).ok()?;
    let log = String::from_utf8_lossy(&log).into_owned();
    let lines: Vec<&str> = log.lines().collect();
    let command = format!("$ {} ", run.program);
    let start = lines.iter().rposition(|line| line.starts_with(&command))?;
    let rest = lines[start + 1..].iter().take_while(|line| !line.starts_with("$ "));
    Some(std::iter::once(&lines[start]).chain(rest).map(|line| shown(line)).collect())
}

/// Returns what of a line a terminal shows at its end: behind the last carriage return, without colours.
fn shown(line: &str) -> String {
    let last = line.trim_end().rsplit('\r').next().unwrap_or_default();
    let mut parts = last.split('\u{1b}');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // A sequence ends with its first letter.
        out.push_str(
            part.split_once(|letter: char| letter.is_ascii_alphabetic()).map_or("", |(_, rest)| rest),
        );
    }
    out
}

/// Leaves out the middle of many lines, and the checkout in front of file names: programs run there.
fn shortened(lines: &[String], left_out: &str, root: Option<&Path>) -> Vec<String> {
    let root = root.and_then(|root| root.canonicalize().ok()).map(|root| format!("{}/", root.display()));
    let near = |line: &String| root.as_ref().map_or_else(|| line.clone(), |root| line.replace(root, ""));
    let mut shown: Vec<String> = lines.iter().map(near).collect();
    if shown.len() > HEAD + TAIL + 1 {
        let middle = shown.len() - HEAD - TAIL;
        shown.splice(HEAD..HEAD + middle, [format!("… ({middle} {left_out})")]);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_shows_the_last_run_as_its_terminal_did() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("logs")).unwrap();
        let log = "$ merge a\nold\n$ merge b\n 10%\r\u{1b}[32m 99%\u{1b}[0m done\n$ evaluate c\n";
        std::fs::write(dir.path().join("logs/hf.log"), log).unwrap();
        let run = |log: &str, program| Run { log: log.to_owned(), program, variant: String::new() };
        assert_eq!(said(dir.path(), &run("hf", "merge")).unwrap(), ["$ merge b", " 99% done"]);
        assert!(said(dir.path(), &run("hf", "finetune")).is_none());
        assert!(said(dir.path(), &run("gone", "merge")).is_none());
    }

    #[test]
    fn the_middle_of_many_lines_is_left_out() {
        let lines: Vec<String> = (0..40).map(|line| line.to_string()).collect();
        let found = shortened(&lines, "lines left out", None);
        assert_eq!((found.len(), found[HEAD].as_str()), (HEAD + TAIL + 1, "… (14 lines left out)"));
        assert_eq!((found[HEAD - 1].as_str(), found[HEAD + 1].as_str()), ("11", "26"));
    }
}
