//! Messages on stderr: how many, and in which colours.

use std::env;
use std::io::IsTerminal;

use clap::{Arg, ArgAction, ArgMatches, Command};
use terminal::Messages;
use tracing_subscriber::EnvFilter;

/// Adds the flags that every program has.
pub(crate) fn with_flags(command: Command) -> Command {
    let flag = |name: &'static str, short, help: &'static str| {
        Arg::new(name).long(name).short(short).help(help).help_heading("Messages")
    };
    command
        .arg(
            flag("quiet", 'q', "Print warnings and errors only; results go to stdout as ever")
                .action(ArgAction::SetTrue)
                .conflicts_with("verbose"),
        )
        .arg(
            flag(
                "verbose",
                'v',
                "Print more about what is done, -vv all there is (or `RUST_LOG` in the environment)",
            )
            .action(ArgAction::Count),
        )
}

/// Begins to print messages, as the flags say, or else `RUST_LOG`. Colours are for a terminal, and not for one with `NO_COLOR`.
pub(crate) fn start(matches: &ArgMatches) {
    let level = match (matches.get_flag("quiet"), matches.get_count("verbose")) {
        (true, _) => Some("warn"),
        (false, 0) => None,
        (false, 1) => Some("debug"),
        (false, _) => Some("trace"),
    };
    let asked = env::var("RUST_LOG").ok().filter(|text| level.is_none() && !text.trim().is_empty());
    let (filter, wrong) = match asked.as_deref().map(EnvFilter::try_new) {
        None => (EnvFilter::new(level.unwrap_or("info")), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new("info"), Some(error)),
    };
    let plain = |name: &str, is_plain: fn(&str) -> bool| env::var(name).is_ok_and(|value| is_plain(&value));
    let is_plain = plain("NO_COLOR", |value| !value.is_empty()) || plain("TERM", |value| value == "dumb");
    tracing_subscriber::fmt()
        .without_time()
        .with_target(false)
        .with_writer(|| Messages)
        .with_ansi(std::io::stderr().is_terminal() && !is_plain)
        .with_env_filter(filter)
        .init();
    if let Some(error) = wrong {
        tracing::warn!(
            "RUST_LOG is `{}`: {error}; expected a level such as debug",
            asked.unwrap_or_default()
        );
    }
}

/// Checks that progress is to be shown, and not warnings only.
pub(crate) fn tells_progress() -> bool {
    tracing::enabled!(tracing::Level::INFO)
}
