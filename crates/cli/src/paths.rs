//! Blanks around the paths of a command line.

use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, Command};

/// Words in the name of a flag's value that tell a path, or something around one.
const PATHS: [&str; 4] = ["DIR", "FILE", "MODEL", "PATH"];

/// Removes the blanks around every path of a command line, as in the lab sheet's `--lora_weights './lora-alpaca '`; one that
/// exists with its blanks stays. Also returns a note for each.
pub(crate) fn trimmed(
    args: impl Iterator<Item = OsString>,
    command: &Command,
) -> (Vec<OsString>, Vec<String>) {
    let paths: Vec<String> = command.get_arguments().filter(|arg| is_path(arg)).flat_map(spellings).collect();
    let is_path = |name: &str| paths.iter().any(|path| path == name);
    let (mut trimmed, mut notes) = (Vec::new(), Vec::new());
    let mut expected = None;
    for arg in args {
        let text = arg.to_str().unwrap_or_default();
        let (name, value) = match (expected.take(), text.split_once('=')) {
            (Some(name), _) if !text.starts_with("--") => (name, text),
            (_, Some((flag, value))) if flag.starts_with("--") => (flag[2..].to_owned(), value),
            _ => {
                expected = text.strip_prefix("--").filter(|name| is_path(name)).map(str::to_owned);
                trimmed.push(arg);
                continue;
            }
        };
        let path = value.trim();
        if path.len() == value.len() || path.is_empty() || !is_path(&name) || Path::new(value).exists() {
            trimmed.push(arg);
            continue;
        }
        notes.push(format!("{name}: the blanks around `{path}` are left out"));
        trimmed.push(if text == value { path.into() } else { format!("--{name}={path}").into() });
    }
    (trimmed, notes)
}

/// Tells whether the value of a flag is a path. A template may be one.
fn is_path(arg: &Arg) -> bool {
    let is_template = arg.get_id().as_str().starts_with("prompt_template");
    is_template
        || arg
            .get_value_names()
            .into_iter()
            .flatten()
            .any(|name| name.split(|c: char| !c.is_ascii_uppercase()).any(|word| PATHS.contains(&word)))
}

/// Lists the names of a flag.
fn spellings(arg: &Arg) -> Vec<String> {
    let aliases = arg.get_all_aliases().unwrap_or_default();
    arg.get_long().into_iter().chain(aliases).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;
    use std::path::PathBuf;

    use clap::CommandFactory;

    use super::*;
    use crate::compare::CompareArgs;
    use crate::evaluate::EvaluateArgs;
    use crate::finetune::FinetuneArgs;
    use crate::generate::GenerateArgs;
    use crate::merge::MergeArgs;
    use crate::pretrain::PretrainArgs;
    use crate::unmerge::UnmergeArgs;

    fn of(args: &[&str]) -> (Vec<String>, usize) {
        let args = args.iter().map(OsString::from);
        let (args, notes) = trimmed(args, &GenerateArgs::command());
        (args.into_iter().map(|arg| arg.into_string().unwrap()).collect(), notes.len())
    }

    #[test]
    fn blanks_around_a_path_are_left_out_and_told() {
        let (args, notes) =
            of(&["generate", "--load_8bit", "--lora_weights", "./lora-alpaca ", "--base_model= m\t"]);
        assert_eq!(args, ["generate", "--load_8bit", "--lora_weights", "./lora-alpaca", "--base_model=m"]);
        assert_eq!(notes, 2);
        let texts = ["generate", "--prompt", " Once ", "--stop= x", "--lora_weights", " ", "--out", "a b"];
        assert_eq!(of(&texts), (texts.map(str::to_owned).to_vec(), 0));
    }

    #[test]
    fn every_path_of_every_program_is_trimmed() {
        let programs = [
            CompareArgs::command(),
            EvaluateArgs::command(),
            FinetuneArgs::command(),
            GenerateArgs::command(),
            MergeArgs::command(),
            PretrainArgs::command(),
            UnmergeArgs::command(),
        ];
        for program in &programs {
            for arg in program.get_arguments() {
                if arg.get_value_parser().type_id() == TypeId::of::<PathBuf>() {
                    assert!(is_path(arg), "{}: {}", program.get_name(), arg.get_id());
                }
            }
            for name in
                ["base_model", "lora_weights", "data_path", "output_dir", "resume_from_checkpoint", "adapter"]
            {
                let arg = program.get_arguments().find(|arg| arg.get_long() == Some(name));
                assert!(arg.is_none_or(is_path), "{}: {name}", program.get_name());
            }
        }
    }
}
