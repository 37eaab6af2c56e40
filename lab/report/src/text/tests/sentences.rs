//! Every sentence of the templates comes out of some results, in both languages.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use xtask::cover::Cover;

use super::handed_in::both;
use super::made::{Made, root, text};
use super::synthetic::{MergeFaults, QloraFaults, lora_vs_qlora, merge_compare};
use crate::lang::Lang;

fn merges() -> Vec<Made> {
    let all = MergeFaults { planted: true, failures: true, ..MergeFaults::default() };
    let plain = || Made::new(merge_compare(MergeFaults::default()));
    let same_as = |variant: &str, other: f64| {
        plain().edit(variant, "decode_tokens_per_s", move |_, index| {
            Some(other + [1.0, -1.0, 0.5, -0.5, 0.2][index % 5])
        })
    };
    let mut no_message = Made::new(merge_compare(all));
    no_message.cells.iter_mut().for_each(|cell| cell["error"] = json!(null));
    let mut long_message = no_message.clone();
    long_message.cells.iter_mut().for_each(|cell| cell["error"] = json!("x".repeat(5000)));
    let mut in_16_bits = plain().with("hf", "mean_kl", 2e-3).with("state-dict", "mean_kl", 2e-3);
    in_16_bits.experiment["run_file"] = json!("dtype = \"bfloat16\"");
    let unmeasured = |made: Made, variant: &str| {
        ["token_agreement", "mean_kl", "max_logit_diff", "perplexity", "changed_fraction"]
            .iter()
            .fold(made, |made, metric| made.without(variant, metric))
            .without_texts(variant)
    };
    let merged_legacy = ["token_agreement", "mean_kl", "max_logit_diff", "perplexity", "changed_fraction"]
        .iter()
        .zip([1.0, 1e-10, 1e-5, 3.21, 0.998])
        .fold(plain(), |made, (metric, value)| made.with("legacy-script", metric, value));
    let mut untitled = plain();
    untitled.experiment["title"] = json!("");
    let mut few = plain();
    few.experiment["repeats"] = json!(3);
    for cell in few.cells.iter_mut().filter(|cell| cell["variant"] != "adapter") {
        cell["texts"][0]["answer"] = json!("");
        cell["texts"][1]["answer"] = json!("The contrary of");
    }
    few.cells.iter_mut().for_each(|cell| cell["texts"][2]["answer"] = json!(""));
    let mut changed = plain()
        .with("base", "disk_bytes", 2e7)
        .with("hf", "load_s", 5e-4)
        .with("hf", "peak_host_mib", 100.0)
        .with("adapter", "peak_host_mib", 110.0);
    changed.experiment["environment"]["commit"] = json!("0000000000000000 with changes");
    let better = plain().with_texts_of("state-dict", "adapter").with_texts_of("adapter", "base");
    vec![
        Made::new(merge_compare(all)),
        no_message,
        long_message,
        Made::new(merge_compare(MergeFaults {
            unseen: true,
            wrong_state_dict: true,
            ..MergeFaults::default()
        })),
        plain(),
        untitled,
        few,
        same_as("hf", 104.0),
        same_as("hf", 50.0),
        plain().with("", "decode_tokens_per_s", 100.0),
        plain().with("adapter", "decode_tokens_per_s", 200.0),
        plain().keep(|cell| cell["variant"] != "base"),
        plain().keep(|cell| cell["repeat"] == 0),
        plain()
            .with("hf", "peak_device_mib", 100.0)
            .edit("hf", "load_s", |_, index| Some(9.0 + index as f64 * 0.1)),
        in_16_bits,
        unmeasured(plain(), "hf"),
        unmeasured(plain(), "legacy-script"),
        merged_legacy,
        plain().with("legacy-script", "mean_kl", 1.0).with("legacy-script", "perplexity", 5.0),
        plain().with("hf", "mean_kl", 1.0).without("", "changed_fraction"),
        better,
        changed,
    ]
}

fn qloras() -> Vec<Made> {
    let plain = || Made::new(lora_vs_qlora(QloraFaults::default()));
    let of = |cell: &Value, metric: &str| cell["metrics"][metric].as_f64();
    let noise = |index: usize| [0.01, -0.01, 0.004][index % 3];
    let one = Made::new(lora_vs_qlora(QloraFaults { one_seed: true, ..QloraFaults::default() }));
    let mut untitled = plain();
    untitled.experiment["title"] = json!("");
    let bare = ["val_loss_final", "perplexity", "exact_match", "rouge_l"]
        .iter()
        .fold(plain(), |made, metric| made.without("", metric));
    let nothing = bare.clone().without("", "train_s").without("", "peak_host_mib");
    vec![
        plain(),
        untitled,
        Made::new(lora_vs_qlora(QloraFaults { wrong_scale: true, failures: true, ..QloraFaults::default() })),
        one.clone(),
        one.with("nf4", "peak_host_mib", 9000.0),
        bare,
        nothing,
        plain().keep(|cell| cell["size"] == 64 || cell["size"] == 256),
        plain().with("nf4", "peak_device_mib", 100.0).with("lora", "peak_device_mib", 200.0),
        // Faster than LoRA, and as fast.
        plain().edit("nf4", "train_s", move |cell, index| Some(of(cell, "train_s")? * (0.3 + noise(index)))),
        plain().edit("", "train_s", move |cell, index| {
            Some(cell["size"].as_f64()? * (0.01 + 0.1 * noise(index)))
        }),
        // No law of scaling.
        plain().edit("", "train_s", |_, index| Some([3.0, 900.0, 40.0, 5.0, 77.0][index % 5])),
        plain().edit("", "val_loss_final", |_, index| Some([3.0, 1.0, 4.0, 5.0, 2.0][index % 5])),
        // Memory that rises, that does not change, and that falls by less than the weights.
        plain().edit("nf4", "peak_host_mib", |_, index| Some(9000.0 + index as f64)),
        plain().edit("", "peak_host_mib", |_, index| Some(400.0 + [3.0, -1.0, 0.5, -4.0, 2.0][index % 5])),
        plain().edit("", "peak_host_mib", move |cell, index| {
            Some(if cell["variant"] == "lora" { 410.0 } else { 400.0 } + noise(index))
        }),
        // Differences without any spread.
        plain().with("", "val_loss_final", 2.0).with("", "exact_match", 0.5).with("nf4", "exact_match", 0.75),
        // Better than LoRA.
        plain().edit("nf4", "val_loss_final", move |cell, index| {
            Some(of(cell, "val_loss_final")? - 0.5 + noise(index))
        }),
    ]
}

/// Returns the string literals of code.
fn literals(code: &str) -> Vec<String> {
    let (mut found, mut inside, mut current) = (Vec::new(), false, String::new());
    let mut letters = code.chars().peekable();
    while let Some(letter) = letters.next() {
        match (inside, letter) {
            (true, '\\') => match letters.next().unwrap() {
                '\n' => while letters.next_if(|letter| letter.is_whitespace()).is_some() {},
                // Of these only the space that does not break occurs.
                'u' => {
                    letters.by_ref().find(|letter| *letter == '}');
                    current.push(' ');
                }
                'n' => current.push('\n'),
                other => current.push(other),
            },
            (true, '"') => {
                found.push(std::mem::take(&mut current));
                inside = false;
            }
            (true, letter) => current.push(letter),
            (false, '"') => inside = true,
            // A letter in quotes may be a quote.
            (false, '\'') if letters.peek() == Some(&'"') => {
                letters.next();
            }
            _ => {}
        }
    }
    found
}

/// Returns the sentences of a template: lines and their halves, without marks, and the literals of its code.
fn sentences(template: &str) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), template);
    while !rest.is_empty() {
        let (text, code) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
        let lines = text.split(['\n', '‖']).filter(|line| !line.starts_with("@excerpt"));
        found.extend(lines.map(|line| {
            let marks = ["# ", "## ", "- ", "$ ", "> good ", "> note ", "> bad "];
            let line = marks.iter().find_map(|mark| line.strip_prefix(mark)).unwrap_or(line);
            let caption = line.split_once(' ').filter(|(mark, _)| mark.starts_with(['@', '`']));
            caption.map_or(line, |(_, caption)| caption).to_owned()
        }));
        let close = if code.starts_with("{{") {
            "}}"
        } else if code.starts_with("{%") {
            "%}"
        } else {
            "#}"
        };
        let (code, behind) = code.split_once(close).unwrap_or_default();
        found.extend(if close == "#}" { Vec::new() } else { literals(code) });
        rest = behind;
    }
    found
}

/// Returns the longest part of a format string that has no placeholder.
fn fixed_part(template: &str) -> &str {
    let parts = template.split('{').enumerate();
    let parts = parts
        .map(|(index, part)| if index == 0 { part } else { part.split_once('}').map_or("", |part| part.1) });
    parts.max_by_key(|part| part.chars().count()).unwrap_or_default()
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    let entries = entries.filter(|path| !path.ends_with("tests"));
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn every_sentence_of_the_templates_is_in_some_report() {
    let made: Vec<Made> = merges().into_iter().chain(qloras()).collect();
    let mut all = String::new();
    for lang in [Lang::En, Lang::Zh] {
        let (_dirs, both) = both();
        all.push_str(&text(&both, lang, None, &Cover::default()));
        all.extend(made.iter().map(|made| made.text(lang)));
        all.push_str(&made[0].text_from(lang, None));
    }
    let all = all.to_lowercase().replace('\u{a0}', " ");
    let mut silent = Vec::new();
    for file in sources(&root().join("lab/report/src/text")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let found = if file.extension().is_some_and(|extension| extension == "rs") {
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            literals(&code.join("\n"))
        } else {
            sentences(&text)
        };
        for template in found {
            let part = fixed_part(&template).trim().to_lowercase();
            // Names of metrics and files are no sentences; a sentence has a space or is Chinese.
            let is_sentence = (part.contains(' ') && part.len() > 6) || !part.is_ascii();
            if is_sentence && !all.contains(&part) {
                silent.push(format!("{}: {part}", file.file_name().unwrap().to_string_lossy()));
            }
        }
    }
    assert!(silent.is_empty(), "never said:\n{}", silent.join("\n"));
}
