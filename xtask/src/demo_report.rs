//! The demo's tables and examples of two evaluations.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

/// Output of `evaluate --json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Evaluation {
    correct: usize,
    total: usize,
    kinds: BTreeMap<String, Score>,
    samples: Vec<Sample>,
}

/// Right answers of one kind.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Score {
    correct: usize,
    total: usize,
}

/// One record and the answer to it.
#[derive(Debug, Deserialize)]
struct Sample {
    instruction: String,
    input: String,
    expected: String,
    answer: String,
    kind: String,
}

/// The longest answer that is shown whole, in characters.
const LONGEST_ANSWER: usize = 160;

/// Formats the accuracy of each kind and of all, before and after.
pub(crate) fn accuracy_table(before: &Evaluation, after: &Evaluation) -> String {
    let mut text = format!("{:<16}{:>8}{:>11}{:>11}\n", "kind", "records", "before", "after");
    let mut line = |name: &str, before: Score, after: Score| {
        let (total, before, after) = (after.total, percent(before), percent(after));
        let _ = writeln!(text, "{name:<16}{total:>8}{before:>9.1} %{after:>9.1} %");
    };
    for (kind, &score) in &after.kinds {
        let none = Score { correct: 0, total: 0 };
        line(kind, before.kinds.get(kind).copied().unwrap_or(none), score);
    }
    let all = |evaluation: &Evaluation| Score { correct: evaluation.correct, total: evaluation.total };
    line("all", all(before), all(after));
    text
}

fn percent(score: Score) -> f64 {
    100.0 * score.correct as f64 / score.total.max(1) as f64
}

/// Returns the first record of some kinds, spread over all of them, with both answers. Which kinds does not depend on who is right.
pub(crate) fn examples(before: &Evaluation, after: &Evaluation, count: usize) -> String {
    let kinds: Vec<&String> = after.kinds.keys().collect();
    let count = count.min(kinds.len());
    let mut text = String::new();
    for kind in (0..count).map(|i| kinds[i * kinds.len() / count]) {
        // Both evaluations hold the same records in the same order.
        let pair = before.samples.iter().zip(&after.samples).find(|(_, sample)| sample.kind == *kind);
        let Some((old, new)) = pair else { continue };
        let input = if new.input.is_empty() { String::new() } else { format!(" [{}]", new.input) };
        let _ = writeln!(text, "{}{input}", new.instruction);
        let _ = writeln!(text, "  expected: {}", new.expected);
        let _ = writeln!(text, "  before:   {}", shown(&old.answer));
        let _ = writeln!(text, "  after:    {}\n", shown(&new.answer));
    }
    text
}

/// Shortens an answer to one line.
fn shown(answer: &str) -> String {
    let line = answer.replace('\n', " / ");
    match line.char_indices().nth(LONGEST_ANSWER) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None if line.is_empty() => "(nothing)".to_owned(),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(correct: usize, answers: [&str; 3]) -> Evaluation {
        let [a, b, c] = answers;
        let sample = |kind: &str, answer: &str| {
            format!(
                r#"{{"instruction":"Do {kind}.","input":"","expected":"yes","answer":"{answer}","kind":"{kind}"}}"#
            )
        };
        let text = format!(
            r#"{{"exact_match":0.0,"correct":{correct},"total":3,"kinds":{{"count":{{"correct":{correct},"total":2}},"plural":{{"correct":0,"total":1}}}},"samples":[{},{},{}]}}"#,
            sample("plural", a),
            sample("count", b),
            sample("count", c)
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_table_counts_each_kind_and_all() {
        let table = accuracy_table(&evaluation(0, ["", "", ""]), &evaluation(2, ["", "", ""]));
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["count", "2", "0.0", "%", "100.0", "%"]);
        assert_eq!(rows[2], ["plural", "1", "0.0", "%", "0.0", "%"]);
        assert_eq!(rows[3], ["all", "3", "0.0", "%", "66.7", "%"]);
    }

    #[test]
    fn an_example_is_the_first_of_its_kind_whoever_is_right() {
        let text = examples(&evaluation(0, ["p", "", "x"]), &evaluation(2, ["no", "maybe", "yes"]), 5);
        assert!(
            text.contains("Do count.\n  expected: yes\n  before:   (nothing)\n  after:    maybe\n"),
            "{text}"
        );
        assert!(text.contains("Do plural.\n  expected: yes\n  before:   p\n  after:    no\n"), "{text}");
    }

    #[test]
    fn a_rambling_answer_is_cut_at_a_character() {
        let text = shown(&"é".repeat(LONGEST_ANSWER + 1));
        assert_eq!(text.chars().count(), LONGEST_ANSWER + 2);
        assert_eq!(shown("a\nb"), "a / b");
    }
}
