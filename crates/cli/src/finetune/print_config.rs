//! `finetune --print_config`: a run file that explains itself.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;
use clap::CommandFactory;

use super::args::FinetuneArgs;
use super::settings::FinetuneConfig;

/// Returns a run file with every setting, and the help of each above it; those without a value are comments themselves.
pub(crate) fn commented(config: &FinetuneConfig) -> Result<String> {
    let mut text =
        "# Run file of finetune: `finetune --config FILE` reads it, and flags override it.\n".to_owned();
    let command = FinetuneArgs::command();
    let mut heading = "";
    let mut written = BTreeSet::new();
    let table = config.to_toml()?;
    for line in table.lines() {
        let key = line.split_once(" = ").map_or("", |(key, _)| key);
        if let Some(arg) = command.get_arguments().find(|arg| arg.get_long() == Some(key)) {
            let of = arg.get_help_heading().unwrap_or_default();
            if of != heading {
                let _ = write!(text, "\n## {of}\n");
                heading = of;
            }
            written.insert(key);
            let _ = write!(text, "\n# {}\n", one_line(arg));
        }
        let _ = writeln!(text, "{line}");
    }
    text.push_str("\n## Without a value\n");
    let settings = FinetuneConfig::augmented();
    for arg in settings.get_arguments().filter(|arg| !written.contains(arg.get_id().as_str())) {
        let _ = write!(text, "\n# {}\n# {} =\n", one_line(arg), arg.get_id());
    }
    Ok(text)
}

/// Returns the help of a flag in one line, as a comment needs it, without the default, which stands below it.
fn one_line(arg: &clap::Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let help = help.lines().collect::<Vec<_>>().join(" ");
    help.rfind(" [default:").or_else(|| help.rfind(" [required]")).map_or(&*help, |at| &help[..at]).to_owned()
}
