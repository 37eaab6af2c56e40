//! Blanks around the paths of a command line.

use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, Command};

/// Words in the name of a flag's value that tell a path, or something around one.
const PATHS: [&str; 4] = ["DIR", "FILE", "MODEL", "PATH"];

/// Removes the blanks around every path of a command line, as in the lab sheet's `--lora_weights './lora-alpaca '`; one that
/// exists with its blanks stays. Also returns a note for each.
pub fn trimmed(args: impl Iterator<Item = OsString>, command: &Command) -> (Vec<OsString>, Vec<String>) {
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
pub fn is_path(arg: &Arg) -> bool {
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
