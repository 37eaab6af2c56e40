//! The Python of the peers and goldens: never ours, and never installed into the repository.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process::probe;

/// The Python that pip runs in.
pub const PYTHON: &str = "python3";

/// Stands before the version: modules print warnings of their own, before and after it.
const MARK: &str = "PyTorch ";

fn version(printed: &str) -> &str {
    printed.lines().find_map(|line| line.strip_prefix(MARK)).unwrap_or_default()
}

/// Checks that `python` has the modules; the first has to be PyTorch 2.11.0.
///
/// # Errors
/// With what it lacks and how to make one that has it all.
pub fn check(python: &str, modules: &[&str]) -> Result<()> {
    let script = format!("import {}\nprint('{MARK}' + torch.__version__)", modules.join(", "));
    let how = format!(
        "make one outside the repository and name it with --python:\n         \
         python3 -m venv ~/peers && ~/peers/bin/pip install torch=={} transformers==4.57.1 peft==0.17.1 bitsandbytes==0.50.2 accelerate\n         \
         cargo xtask … --python ~/peers/bin/python",
        get_libtorch::VERSION
    );
    match probe(Command::new(python).args(["-c", &script])) {
        None => bail!("`{python}` cannot be started; expected a Python with {}: {how}", modules.join(", ")),
        Some((false, text)) => {
            let last = text.lines().last().unwrap_or_default();
            bail!("`{python}` cannot import {}: {last}; {how}", modules.join(", "))
        }
        Some((true, text)) => {
            let version = version(&text);
            if version.split('+').next() == Some(get_libtorch::VERSION) {
                return Ok(());
            }
            bail!("`{python}` has PyTorch {version}; expected {}: {how}", get_libtorch::VERSION)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_between_warnings() {
        assert_eq!(version("one warning\nPyTorch 2.11.0+cpu\nanother\n"), "2.11.0+cpu");
        assert_eq!(version("nothing"), "");
    }

    #[test]
    fn a_python_that_is_not_there_is_told_how_to_be_made() {
        let error = check("no-such-python", &["torch"]).unwrap_err().to_string();
        assert!(error.contains("no-such-python") && error.contains("-m venv"), "{error}");
    }
}
