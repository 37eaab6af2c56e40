//! Messages name only flags that there are: those of a program, its own; those of a library, some program's.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use cli::{compare, evaluate, finetune, generate, merge, pretrain, runs, unmerge};

fn programs() -> Vec<(&'static str, Command)> {
    vec![
        ("compare", compare::CompareArgs::command()),
        ("evaluate", evaluate::EvaluateArgs::command()),
        ("finetune", finetune::FinetuneArgs::command()),
        ("generate", generate::GenerateArgs::command()),
        ("merge", merge::MergeArgs::command()),
        ("pretrain", pretrain::PretrainArgs::command()),
        ("runs", runs::RunsArgs::command()),
        ("unmerge", unmerge::UnmergeArgs::command()),
    ]
}

/// Libraries whose messages may name flags: of one program each, which the message is about.
const NAME_FLAGS: [&str; 6] =
    ["checkpoint", "llama-finetune", "llama-model", "lora", "nn-core", "process-group"];
/// Programs of others, whose commands are quoted.
const OTHERS: [&str; 4] = ["cargo ", "hf ", "git ", "jq "];
/// Options of other programs that are called, and the flag that goes on past unknown settings.
const NOT_OURS: [&str; 7] = ["gpu", "std", "query", "format", "version", "wrap", "ignore_unknown_settings"];

fn has(command: &Command, flag: &str) -> bool {
    let spelt = |arg: &clap::Arg| {
        arg.get_long() == Some(flag) || arg.get_all_aliases().unwrap_or_default().contains(&flag)
    };
    flag == "help" || NOT_OURS.contains(&flag) || command.get_arguments().any(spelt)
}

/// The Rust files below a directory, without those of tests.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let found = paths.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    let name = |path: &PathBuf| path.to_str().unwrap().to_owned();
    found
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs") && !name(path).ends_with("tests.rs"))
        .collect()
}

/// The flags that the strings of a source name, without its comments and tests.
fn flags(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut flags = Vec::new();
    for line in lines {
        let pieces = line.split(['`', '"']);
        let kept = pieces.filter(|piece| !OTHERS.iter().any(|other| piece.starts_with(other)));
        for rest in kept.collect::<Vec<_>>().join(" ").split("--").skip(1) {
            let flag = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
            if flag.starts_with(|c: char| c.is_ascii_lowercase()) {
                flags.push(flag.to_owned());
            }
        }
    }
    flags
}

#[test]
fn messages_name_only_flags_that_there_are() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let programs = programs();
    let mut wrong = Vec::new();
    for entry in fs::read_dir(&crates).unwrap() {
        let dir = entry.unwrap().path();
        let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
        for path in sources(&dir.join("src")) {
            let own = programs.iter().find(|(program, _)| path.starts_with(dir.join("src").join(program)));
            let is_known = |flag: &str| match own {
                Some((_, command)) if name == "cli" => has(command, flag),
                _ if name == "cli" || NAME_FLAGS.contains(&name.as_str()) => {
                    programs.iter().any(|(_, command)| has(command, flag))
                }
                _ => NOT_OURS.contains(&flag),
            };
            wrong.extend(
                flags(&path).into_iter().filter(|flag| !is_known(flag)).map(|flag| (path.clone(), flag)),
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
