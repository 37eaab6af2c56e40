//! Child processes, run in sight of the user.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::output::note;

/// Runs a command whose output the user sees.
///
/// # Errors
/// When it cannot be started or does not succeed.
pub fn run(command: &mut Command) -> Result<()> {
    let line = command_line(command);
    note(&format!("$ {line}"));
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// Runs a command as [`run`] does, with its results among the messages on stderr.
///
/// # Errors
/// As [`run`].
pub fn run_to_stderr(command: &mut Command) -> Result<()> {
    run(command.stdout(Stdio::from(std::io::stderr())))
}

/// Runs a command and returns what it wrote to stdout; its messages the user sees.
///
/// # Errors
/// As [`run`], or when the output is not UTF-8.
pub fn capture(command: &mut Command) -> Result<String> {
    let line = command_line(command);
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed: {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of `{line}` is not UTF-8"))
}

/// Tells if a command can be started and succeeds; nobody sees its output.
pub fn succeeds(command: &mut Command) -> bool {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

/// Runs a command unseen; returns whether it succeeded, and its stdout and stderr. `None` when it cannot be started.
pub fn probe(command: &mut Command) -> Option<(bool, String)> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).trim().to_owned()))
}

/// Returns the command as one would type it.
fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_its_status() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert!(error.contains("`sh -c exit 3` failed: exit status: 3"), "{error}");
        let error = run(&mut Command::new("no-such-program")).unwrap_err().to_string();
        assert!(error.contains("no-such-program"), "{error}");
    }

    #[test]
    fn a_probe_tells_failure_from_absence() {
        assert_eq!(
            probe(Command::new("sh").args(["-c", "echo why; exit 1"])),
            Some((false, "why".to_owned()))
        );
        assert_eq!(probe(&mut Command::new("no-such-program")), None);
    }
}
