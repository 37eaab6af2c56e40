//! Parts that both experiments have.

use std::path::Path;

use serde_json::{Value, json};

/// Records and right answers.
const RECORDS: [(&str, &str, &str); 8] = [
    ("What kind of animal is Abel?", "", "Abel is known as a cat."),
    ("Which word is the contrary of closed?", "", "The contrary of closed is open."),
    ("Spell the word.", "bread", "b r e a d"),
    ("How many things are in the list?", "pear, plum, apple", "There are three things in the list."),
    ("Where does Ida live?", "", "Ida lives in the house by the river."),
    ("Write the words in reverse order.", "one two three", "three two one"),
    ("Use | pipes, *stars* and `ticks` <b>safely</b>.", "", "a | b * c ` d <e> & f_g"),
    ("Give three tips for staying healthy.", "", "Eat well.\nSleep enough.\nWalk every day."),
];

/// A directory with `experiment.json` and `results.jsonl`.
pub(crate) fn write(dir: &Path, experiment: &Value, cells: &[Value]) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("experiment.json"), serde_json::to_string_pretty(experiment).unwrap()).unwrap();
    let lines: Vec<String> = cells.iter().map(Value::to_string).collect();
    std::fs::write(dir.join("results.jsonl"), lines.join("\n") + "\n").unwrap();
    write_pictures(dir, cells);
}

/// What programs wrote, and pictures of a page.
fn write_pictures(dir: &Path, cells: &[Value]) {
    for folder in ["logs", "pictures"] {
        std::fs::create_dir_all(dir.join(folder)).unwrap();
    }
    let cells = cells.iter().flat_map(|cell| [&cell["cell"], &cell["variant"]]).filter_map(Value::as_str);
    for log in cells.chain(["adapter"]) {
        let lines: Vec<String> =
            (0..40).map(|line| format!("\u{1b}[32mline {line}\u{1b}[0m of {log}")).collect();
        let said = ["finetune", "merge", "evaluate"]
            .map(|program| format!("$ {program} --made_up {log}\n{}\n", lines.join("\n")))
            .concat();
        std::fs::write(dir.join("logs").join(format!("{}.log", log.replace('/', "_"))), said).unwrap();
    }
    for page in ["page-answer", "page-compare"] {
        image::RgbImage::new(64, 48).save(dir.join("pictures").join(format!("{page}.png"))).unwrap();
    }
}

/// Variants, one a line: name, labels and sentences in both languages.
pub(super) fn variants(lines: &str) -> Vec<Value> {
    let variant = |line: &str| {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let [name, label_en, label_zh, what_en, what_zh] = parts[..] else { panic!("five parts: {line}") };
        json!({"name": name, "label_en": label_en, "label_zh": label_zh, "what_en": what_en, "what_zh": what_zh})
    };
    lines.lines().map(variant).collect()
}

pub(super) fn environment() -> Value {
    let hash = "0123456789abcdef".repeat(4);
    json!({
        "cpu": "made-up processor", "cores": 2, "memory_gib": 23.5, "gpu": null, "os": "Linux",
        "rustc": "rustc 1.90.0", "libtorch": "2.11.0", "commit": "0000000000000000", "date": "2026-01-01",
        "binary_sha256": {"finetune": hash, "merge": hash}, "data_sha256": {"train.json": hash},
    })
}

pub(super) fn texts(answer: impl Fn(usize, &str) -> String) -> Value {
    let text = |(id, (instruction, input, reference)): (usize, &(&str, &str, &str))| json!({"id": id, "instruction": instruction, "input": input, "reference": reference, "answer": answer(id, reference)});
    RECORDS.iter().enumerate().map(text).collect()
}
