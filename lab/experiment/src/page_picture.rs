//! Pictures of `generate`'s page in a browser, where one is at hand: an answer, and base and adapter beside each other.

#[path = "../../../crates/serve/tests/webdriver/mod.rs"]
mod webdriver;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use self::webdriver::{Browser, Screen};
use super::programs::Programs;
use super::setting::Setting;
use xtask::output::note;

/// The server; it ends with the pictures.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Takes the pictures unless they are there; that they cannot be had is said, and no failure.
pub(crate) fn take(setting: &Setting, programs: &Programs, adapter: &Path) {
    let dir = setting.out.join("pictures");
    if dir.join("page-compare.png").exists() || !adapter.exists() {
        return;
    }
    // The driver of the browser tests panics where the page is not as it expects; one line about it is enough.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let taken = std::panic::catch_unwind(|| pictures(setting, programs, adapter, &dir))
        .unwrap_or_else(|_| Err(anyhow!("the browser did not follow")));
    std::panic::set_hook(hook);
    if let Err(error) = taken {
        note(&format!("no pictures of the page: {error:#}"));
    }
}

fn pictures(setting: &Setting, programs: &Programs, adapter: &Path, dir: &Path) -> Result<()> {
    let Some(browser) = Browser::open("lab-page", Screen::Desktop) else { return Ok(()) };
    let mut command = programs.command("generate", ["--base_model", &setting.base_model]);
    command.arg("--lora_weights").arg(adapter).args(setting.machine_flags());
    command.args(["--server_port", "0", "--temperature", "0"]).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut serving = Serving(command.spawn().context("cannot start `generate`")?);
    let lines = serving.0.stderr.take().context("`generate` has no stderr")?;
    let mut lines = BufReader::new(lines).lines().map_while(Result::ok);
    let url = lines.find_map(|line| Some(line.split_once("listening on ")?.1.split(' ').next()?.to_owned()));
    // The pipe must not fill.
    std::thread::spawn(move || lines.for_each(drop));
    browser.go(&url.context("`generate` does not listen")?);
    browser.wait("document.getElementById('source').options.length > 0");
    let asked = setting.records.evaluation.first().context("there is no record to ask")?;
    for field in ["instruction", "input"] {
        browser.fill(&format!("#{field}"), asked.get(field).and_then(Value::as_str).unwrap_or_default());
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
    browser.click("#submit");
    browser.wait("document.querySelector('#one-view .figures').textContent.includes('first after')");
    fs::write(dir.join("page-answer.png"), browser.picture())?;
    browser.click("#view-compare");
    browser.click("#submit");
    browser.wait(
        "[...document.querySelectorAll('#cards .figures')].filter(box => box.textContent.includes('first after')).length > 1",
    );
    fs::write(dir.join("page-compare.png"), browser.picture())?;
    Ok(())
}
