//! A program's flags as a page of the book, made from its `clap::Command`.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, Command};

/// The command that makes the pages again.
pub const REMAKE: &str = "WRITE_FLAG_PAGES=1 cargo xtask test flag_page";

/// Returns the page of `command` with all its subcommands. With `either_separator`, `-` and `_` are the same in every flag.
pub fn page(command: Command, introduction: &str, either_separator: bool) -> String {
    let mut command = command;
    command.build();
    let mut text = format!("<!-- Made from the program's definition: {REMAKE} -->\n\n");
    let _ = writeln!(text, "# Flags of {}\n\n{introduction}", command.get_name());
    section(&mut text, &command, either_separator);
    text
}

/// Compares a page with the committed one; with `WRITE_FLAG_PAGES` in the environment, writes it.
///
/// # Errors
/// A sentence that names the page and the way to remake it.
pub fn compare(root: &Path, name: &str, page: &str) -> Result<(), String> {
    let relative = format!("docs/flags/{name}.md");
    let path = root.join(&relative);
    if std::env::var_os("WRITE_FLAG_PAGES").is_some() {
        return std::fs::write(&path, page).map_err(|error| format!("cannot write `{relative}`: {error}"));
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    if committed == page {
        return Ok(());
    }
    let same = page.lines().zip(committed.lines()).take_while(|(ours, theirs)| ours == theirs).count();
    Err(format!("`{relative}` differs from the program's flags in line {}; remake it: {REMAKE}", same + 1))
}

fn section(text: &mut String, command: &Command, either: bool) {
    let about = command.get_long_about().or_else(|| command.get_about()).map(ToString::to_string);
    let _ = writeln!(text, "\n{}", escaped(about.unwrap_or_default().trim()));
    let mut groups: Vec<(String, Vec<&Arg>)> = Vec::new();
    for arg in command.get_arguments().filter(|arg| !["help", "version"].contains(&arg.get_id().as_str())) {
        let default = if arg.is_hide_set() { "Accepted, without effect" } else { "" };
        let heading = arg.get_help_heading().unwrap_or(default);
        match groups.iter_mut().find(|(of, _)| of == heading) {
            Some((_, args)) => args.push(arg),
            None => groups.push((heading.to_owned(), vec![arg])),
        }
    }
    for (heading, args) in groups {
        if !heading.is_empty() {
            let _ = writeln!(text, "\n**{heading}**");
        }
        text.push_str("\n| flag | value | default | what it does |\n|---|---|---|---|\n");
        for arg in args {
            let (help, default) = help_and_default(arg);
            let _ = writeln!(text, "| {} | {} | {default} | {help} |", names(arg, either), value(arg));
        }
    }
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        let name = inner.get_bin_name().unwrap_or(inner.get_name());
        let _ = writeln!(text, "\n## {name}");
        section(text, inner, either);
    }
}

/// Returns every spelling of an argument.
fn names(arg: &Arg, either: bool) -> String {
    let Some(long) = arg.get_long() else { return format!("`{}`", arg.get_id().as_str().to_uppercase()) };
    let mut names = vec![long.to_owned()];
    names.extend(arg.get_all_aliases().unwrap_or_default().into_iter().map(str::to_owned));
    if either {
        names = names.into_iter().flat_map(|name| [name.replace('-', "_"), name.replace('_', "-")]).collect();
    }
    names.dedup();
    names.iter().map(|name| format!("`--{name}`")).collect::<Vec<_>>().join("<br>")
}

/// Returns the value that follows an argument, or its choices.
fn value(arg: &Arg) -> String {
    let name = arg.get_value_names().and_then(|names| names.first()).map_or("VALUE", |name| name.as_str());
    let choices = arg.get_possible_values();
    match arg.get_num_args().unwrap_or_default() {
        range if !range.takes_values() => "–".to_owned(),
        range if range.min_values() == 0 && range.max_values() == 1 => format!("`[{name}]`"),
        _ if choices.is_empty() => format!("`{name}`"),
        _ => {
            let spellings = choices.iter().map(|choice| {
                choice.get_name_and_aliases().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" = ")
            });
            spellings.collect::<Vec<_>>().join(", ")
        }
    }
}

/// Splits the help into the text without `[default: …]` or `[required]` at its end, and that default.
fn help_and_default(arg: &Arg) -> (String, String) {
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let defaults = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>();
    let mut default = if arg.is_required_set() { "required".to_owned() } else { defaults.join(",") };
    let note = help
        .rfind('[')
        .filter(|_| help.ends_with(']'))
        .map(|at| (at, help[at + 1..help.len() - 1].to_owned()));
    if let Some((at, note)) = note
        && let Some(stated) = note.strip_prefix("default: ").or((note == "required").then_some("required"))
    {
        stated.clone_into(&mut default);
        help.truncate(help[..at].trim_end().len());
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(help, " (or `{}` in the environment)", variable.to_string_lossy());
    }
    let default =
        if default.is_empty() || value(arg) == "–" { "–".to_owned() } else { escaped(&default) };
    (escaped(help.trim()), default)
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
